//===- Time.cpp - strftime in the C locale --------------------------------===//

#include "Evaluator.h"

#include <cstdio>

namespace chorus::rt::jinja {

namespace {

const char *const weekdays[] = {"Sunday",   "Monday", "Tuesday", "Wednesday",
                                "Thursday", "Friday", "Saturday"};
const char *const months[] = {"January",   "February", "March",    "April",
                              "May",       "June",     "July",     "August",
                              "September", "October",  "November", "December"};

/// `value` with at least `width` digits, filled from the left; not filled if
/// `fill` is NUL.
std::string padded(int value, int width, char fill) {
  std::string digits = std::to_string(value);
  if (fill != '\0' && static_cast<int>(digits.size()) < width)
    digits.insert(0, static_cast<size_t>(width) - digits.size(), fill);
  return digits;
}

std::string formatField(RenderState &state, const std::tm &time, char field,
                        bool isUnpadded);

std::string formatFields(RenderState &state, const std::tm &time,
                         std::string_view format) {
  std::string out;
  for (size_t i = 0; i < format.size(); ++i) {
    if (format[i] != '%' || i + 1 == format.size()) {
      out += format[i];
      continue;
    }
    bool isUnpadded = format[i + 1] == '-' && i + 2 < format.size();
    i += isUnpadded ? 2 : 1;
    out += formatField(state, time, format[i], isUnpadded);
    state.charge();
  }
  return out;
}

std::string formatField(RenderState &state, const std::tm &time, char field,
                        bool isUnpadded) {
  auto number = [&](int value, int width, char fill = '0') {
    return padded(value, width, isUnpadded ? '\0' : fill);
  };
  int hour12 = time.tm_hour % 12 == 0 ? 12 : time.tm_hour % 12;
  int year = time.tm_year + 1900;
  switch (field) {
  case 'a':
    return std::string(weekdays[time.tm_wday]).substr(0, 3);
  case 'A':
    return weekdays[time.tm_wday];
  case 'b':
  case 'h':
    return std::string(months[time.tm_mon]).substr(0, 3);
  case 'B':
    return months[time.tm_mon];
  case 'c':
    return formatFields(state, time, "%a %b %e %H:%M:%S %Y");
  case 'C':
    return number(year / 100, 2);
  case 'd':
    return number(time.tm_mday, 2);
  case 'D':
  case 'x':
    return formatFields(state, time, "%m/%d/%y");
  case 'e':
    return number(time.tm_mday, 2, ' ');
  case 'F':
    return formatFields(state, time, "%Y-%m-%d");
  case 'H':
    return number(time.tm_hour, 2);
  case 'I':
    return number(hour12, 2);
  case 'j':
    return number(time.tm_yday + 1, 3);
  case 'k':
    return number(time.tm_hour, 2, ' ');
  case 'l':
    return number(hour12, 2, ' ');
  case 'm':
    return number(time.tm_mon + 1, 2);
  case 'M':
    return number(time.tm_min, 2);
  case 'n':
    return "\n";
  case 'p':
    return time.tm_hour < 12 ? "AM" : "PM";
  case 'P':
    return time.tm_hour < 12 ? "am" : "pm";
  case 'r':
    return formatFields(state, time, "%I:%M:%S %p");
  case 'R':
    return formatFields(state, time, "%H:%M");
  case 'S':
    return number(time.tm_sec, 2);
  case 't':
    return "\t";
  case 'T':
  case 'X':
    return formatFields(state, time, "%H:%M:%S");
  case 'u':
    return std::to_string(time.tm_wday == 0 ? 7 : time.tm_wday);
  case 'w':
    return std::to_string(time.tm_wday);
  case 'y':
    return number(year % 100, 2);
  case 'Y':
    return std::to_string(year);
  case 'z': // The time has no zone.
  case 'Z':
    return "";
  case '%':
    return "%";
  default:
    state.fail("strftime_now with '%" + escapeForMessage({&field, 1}) +
               "' is outside the supported subset");
  }
}

} // namespace

std::string formatTime(RenderState &state, const std::tm &time,
                       std::string_view format) {
  bool isValid = time.tm_mon >= 0 && time.tm_mon < 12 && time.tm_wday >= 0 &&
                 time.tm_wday < 7 && time.tm_year > -1900;
  if (!isValid)
    state.fail("the clock gave an invalid time");
  state.chargeText(format.size() * 64);
  return formatFields(state, time, format);
}

} // namespace chorus::rt::jinja
