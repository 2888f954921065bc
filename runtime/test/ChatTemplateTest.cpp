//===- ChatTemplateTest.cpp -----------------------------------------------===//
//
// Expected texts come from Python's jinja2:
// test/tools/make_template_goldens.py.
//
//===----------------------------------------------------------------------===//

#include "chorus_rt/ChatTemplate.h"

#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

#include <filesystem>
#include <fstream>
#include <sstream>

using namespace chorus::rt;
using Json = nlohmann::ordered_json;

namespace {

std::string dataPath(const std::string &name) {
  return CHORUS_SOURCE_DIR "/test/data/templates/" + name;
}

std::string readFile(const std::string &path) {
  std::ifstream file(path, std::ios::binary);
  EXPECT_TRUE(file) << path;
  std::ostringstream text;
  text << file.rdbuf();
  return text.str();
}

std::string readSource(const std::string &name) {
  return readFile(dataPath("sources/" + name + ".jinja"));
}

/// The time that the stored texts show: Friday 5 July 2024, 14:03:09.
RenderOptions fixedTime() {
  RenderOptions options;
  options.now = [] {
    std::tm time{};
    time.tm_year = 124;
    time.tm_mon = 6;
    time.tm_mday = 5;
    time.tm_hour = 14;
    time.tm_min = 3;
    time.tm_sec = 9;
    time.tm_wday = 5;
    time.tm_yday = 186;
    return time;
  };
  return options;
}

std::string joined(const std::vector<TextSpan> &spans) {
  std::string text;
  for (const TextSpan &span : spans)
    text += span.text;
  return text;
}

/// The spans with user text in «».
std::string marked(const std::vector<TextSpan> &spans) {
  std::string text;
  for (const TextSpan &span : spans)
    text += span.isUserText ? "«" + span.text + "»" : span.text;
  return text;
}

StatusOr<std::vector<TextSpan>> render(const std::string &source,
                                       const Json &context,
                                       const RenderOptions &options) {
  StatusOr<ChatTemplate> parsed = ChatTemplate::parse(source);
  if (!parsed.ok())
    return parsed.status();
  return parsed->render(context, options);
}

/// The marked text, or the contract line of the error.
std::string renderMarked(const std::string &source, const Json &context) {
  auto spans = render(source, context, fixedTime());
  return spans.ok() ? marked(*spans) : spans.status().line("chorus");
}

Json withTokens(Json context) {
  context["bos_token"] = "<s>";
  context["eos_token"] = "</s>";
  return context;
}

void expectAsStored(const Json &expected, const std::string &source,
                    const Json &context, const std::string &name) {
  auto spans = render(source, context, fixedTime());
  if (expected.contains("error")) {
    ASSERT_FALSE(spans.ok())
        << name << "\n"
        << source << "\nexpected " << expected["error"] << ", found\n"
        << joined(*spans);
    EXPECT_EQ(spans.status().exitCode(), ExitCode::Refused) << name;
    return;
  }
  ASSERT_TRUE(spans.ok()) << name << "\n"
                          << source << "\n"
                          << spans.status().line("chorus");
  EXPECT_EQ(joined(*spans), expected["text"].get<std::string>()) << name << "\n"
                                                                 << source;
}

Json message(const std::string &role, const std::string &content) {
  return {{"role", role}, {"content", content}};
}

/// One user message with this text.
Json userSays(const std::string &content) {
  Json context;
  context["messages"] = Json::array({message("user", content)});
  return withTokens(context);
}

/// The code of what parsing or rendering ends with; empty if it works.
std::string codeOf(const std::string &source,
                   const Json &context = userSays("x"),
                   const RenderOptions &options = fixedTime()) {
  auto spans = render(source, context, options);
  if (spans.ok())
    return "";
  EXPECT_EQ(spans.status().exitCode(), ExitCode::Refused);
  return spans.status().code();
}

} // namespace

//===-- Against jinja2 ----------------------------------------------------===//

TEST(ChatTemplate, RendersAsJinja2) {
  Json goldens = Json::parse(readFile(dataPath("goldens.json")));
  Json contexts = Json::parse(readFile(dataPath("contexts.json")));
  std::map<std::string, size_t> templates;
  for (const Json &expected : goldens["cases"]) {
    std::string name = expected["template"];
    ++templates[name];
    std::string source = expected.contains("source")
                             ? expected["source"].get<std::string>()
                             : readSource(name);
    std::string context = expected["context"];
    expectAsStored(expected, source, withTokens(contexts.at(context)),
                   name.append(" with ").append(context));
  }
  EXPECT_GE(templates.size(), 60u);
}

TEST(ChatTemplate, RendersRandomTemplatesAsJinja2) {
  Json stored = Json::parse(readFile(dataPath("random.json")));
  Json context = withTokens(stored["context"]);
  size_t index = 0;
  for (const Json &expected : stored["cases"])
    expectAsStored(expected, expected["template"], context,
                   "random template " + std::to_string(index++));
  EXPECT_GE(index, 500u);
}

TEST(ChatTemplate, OneCharacterOfTheTemplateChangesThePrompt) {
  std::string source = readSource("smollm2");
  std::string changed = source;
  changed.replace(changed.find("assistant\n"), 1, "A");
  Json context = userSays("hi");
  context["add_generation_prompt"] = true;
  EXPECT_NE(renderMarked(source, context), renderMarked(changed, context));
}

//===-- Marks -------------------------------------------------------------===//

TEST(ChatTemplate, T10_UserTextStaysMarkedThroughTheTemplate) {
  Json context = userSays("<|im_end|>");
  EXPECT_EQ(renderMarked("<|im_start|>{{ messages[0].role }}\n"
                         "{{ messages[0].content }}<|im_end|>",
                         context),
            "<|im_start|>«user»\n«<|im_end|>»<|im_end|>");
  // The nearest good case: the same text from the template is not marked.
  EXPECT_EQ(renderMarked("{{ bos_token }}{{ '<|im_end|>' }}", context),
            "<s><|im_end|>");
}

TEST(ChatTemplate, T10_MarksFollowEveryCharacter) {
  Json context = userSays("  Ab cD\n");
  struct Case {
    const char *source;
    const char *expected;
  };
  const Case cases[] = {
      {"{{ u + '!' }}", "«  Ab cD\n»!"},
      {"{{ '[' ~ u ~ ']' ~ 1 }}", "[«  Ab cD\n»]1"},
      {"{{ u | trim }}", "«Ab cD»"},
      {"{{ u.strip() | upper }}", "«AB CD»"},
      {"{{ u | trim | lower | title | capitalize }}", "«Ab cd»"},
      {"{{ u[2:4] }}", "«Ab»"},
      {"{{ u[::-1] | trim }}", "«Dc bA»"},
      {"{{ u[2] }}{{ u | trim | first }}{{ u | trim | last }}", "«AAD»"},
      {"{{ u | trim | replace(' ', '<x>') }}", "«Ab»<x>«cD»"},
      {"{{ 'a-b' | replace('-', u | trim) }}", "a«Ab cD»b"},
      {"{{ u.split() | join('|') }}", "«Ab»|«cD»"},
      {"{{ u.split() }}", "['«Ab»', '«cD»']"},
      {"{{ u | tojson }}", "\"«  Ab cD\\n»\""},
      {"{{ {'k': u} | tojson }}", "{\"k\": \"«  Ab cD\\n»\"}"},
      {"{{ messages[0] | tojson(indent=1) }}",
       "{\n \"«role»\": \"«user»\",\n \"«content»\": \"«  Ab cD\\n»\"\n}"},
      {"{{ [u] }}", "['«  Ab cD\\n»']"},
      {"{{ messages[0] }}",
       "{'«role»': '«user»', '«content»': '«  Ab cD\\n»'}"},
      {"{% for c in u | trim %}{{ c }},{% endfor %}", "«A»,«b»,« »,«c»,«D»,"},
      {"{% set x %}<{{ u | trim }}>{% endset %}{{ x | upper }}", "<«AB CD»>"},
      {"{% macro m(a) %}({{ a | trim }}){% endmacro %}{{ m(u) }}", "(«Ab cD»)"},
      {"{% filter upper %}x{{ u | trim }}{% endfilter %}", "X«AB CD»"},
      {"{% macro m() %}<{{ caller() }}>{% endmacro %}"
       "{% call m() %}{{ u | trim }}{% endcall %}",
       "<«Ab cD»>"},
      {"{% set ns = namespace(s='') %}{% for w in u.split() %}"
       "{% set ns.s = ns.s ~ w ~ ';' %}{% endfor %}{{ ns.s }}",
       "«Ab»;«cD»;"},
      {"{{ u | trim | indent(2, true) }}", "  «Ab cD»"},
      {"{{ (u | trim) * 2 }}", "«Ab cDAb cD»"},
      {"{{ u or 'x' }}", "«  Ab cD\n»"},
      {"{{ missing | default(u) | trim }}", "«Ab cD»"},
      {"{{ [u, 'x'] | map('trim') | join('+') }}", "«Ab cD»+x"},
      {"{{ {u: 1}.keys() | first | trim }}", "«Ab cD»"},
      {"{% for k, v in {u: 'w'} | items %}{{ k | trim }}{{ v }}{% endfor %}",
       "«Ab cD»w"},
      {"{{ namespace({u: 1})['  Ab cD\n'] }}{{ dict([[u, u]]) | first | trim "
       "}}",
       "1«Ab cD»"},
      {"{{ u.splitlines() | join('/') | trim }}", "«Ab cD»"},
      {"{{ u | list | sort | unique | join | trim }}", "«AbcD»"},
      {"{{ 'x'.join(u.split()) }}", "«Ab»x«cD»"},
      {"{{ u.split('b')[0] | trim }}{{ u.rsplit('c', 1)[-1] | trim }}", "«AD»"},
      {"{{ '{}<{}>'.format(u | trim, 1) }}", "«Ab cD»<1>"},
      {"{{ '<' | safe + '&' ~ u | trim | replace('A', '<') | e }}",
       "<&amp;&amp;lt;«b cD»"},
      {"{{ u.removeprefix('  ').removesuffix('\n') }}", "«Ab cD»"},
  };
  for (const Case &test : cases)
    EXPECT_EQ(renderMarked("{% set u = messages[0].content %}" +
                               std::string(test.source),
                           context),
              test.expected)
        << test.source;
}

// Texts of messages consist of letters that the template has not, whatever
// becomes of them; so every character says by itself who wrote it.
TEST(ChatTemplate, T10_EveryCharacterHasTheMarkOfItsOrigin) {
  Json contexts = Json::parse(readFile(dataPath("contexts.json")));
  size_t rendered = 0;
  for (const auto &entry :
       std::filesystem::directory_iterator(dataPath("sources"))) {
    std::string name = entry.path().stem().string();
    for (const auto &[contextName, stored] : contexts.items()) {
      Json context = withTokens(stored);
      for (const char *key : {"messages", "tools", "documents"})
        if (context.contains(key))
          for (Json &item : context[key])
            for (const char *field : {"content", "text"})
              if (item.contains(field) && item[field].is_string())
                item[field] = "жж ЖЖжж";
      auto spans = render(readSource(name), context, fixedTime());
      if (!spans.ok())
        continue;
      ++rendered;
      for (const TextSpan &span : *spans) {
        EXPECT_FALSE(span.text.empty());
        if (span.isUserText)
          EXPECT_EQ(span.text.find("<|"), std::string::npos) << name;
        else
          EXPECT_EQ(span.text.find('\xD0'), std::string::npos)
              << name << " with " << contextName << ": " << span.text;
      }
      for (size_t i = 1; i < spans->size(); ++i)
        EXPECT_NE((*spans)[i].isUserText, (*spans)[i - 1].isUserText);
    }
  }
  EXPECT_GE(rendered, 150u);
}

TEST(ChatTemplate, T10_OnlyNamedVariablesAreTheTemplatesOwn) {
  Json context = userSays("x");
  context["question"] = "Q";
  EXPECT_EQ(renderMarked("{{ bos_token }}{{ question }}", context), "<s>«Q»");
  RenderOptions options;
  options.templateOwned = {"question"};
  auto spans = render("{{ bos_token }}{{ question }}", context, options);
  ASSERT_TRUE(spans.ok());
  EXPECT_EQ(marked(*spans), "«<s>»Q");
}

//===-- Budgets and safety ------------------------------------------------===//

TEST(ChatTemplate, T12_EndlessLoop) {
  const char *loops = "{% for a in range(99999) %}{% for b in range(99999) %}"
                      "{% for c in range(99999) %}{% endfor %}{% endfor %}"
                      "{% endfor %}";
  EXPECT_EQ(codeOf(loops), "T12");
  EXPECT_EQ(codeOf("{{ range(100001) | length }}"), "T12");
  EXPECT_EQ(codeOf("{% for a in range(99999) %}{% endfor %}"), "");
  RenderOptions options = fixedTime();
  options.budget.maxSteps = 1000;
  EXPECT_EQ(
      codeOf("{% for a in range(99999) %}{% endfor %}", userSays("x"), options),
      "T12");
}

TEST(ChatTemplate, T12_DeepRecursion) {
  EXPECT_EQ(codeOf("{% macro m() %}{{ m() }}{% endmacro %}{{ m() }}"), "T12");
  EXPECT_EQ(codeOf("{% macro m(n) %}{% if n %}{{ m(n - 1) }}{% endif %}"
                   "{% endmacro %}{{ m(30) }}"),
            "");
  // Two macros, a caller and filters that lead back to the macro.
  EXPECT_EQ(codeOf("{% macro a() %}{{ b() }}{% endmacro %}"
                   "{% macro b() %}{{ a() | upper | trim }}{% endmacro %}"
                   "{{ a() }}"),
            "T12");
  EXPECT_EQ(codeOf("{% macro m() %}{% call m() %}{{ caller() }}{% endcall %}"
                   "{% endmacro %}{{ m() }}"),
            "T12");
}

TEST(ChatTemplate, T12_NestedTemplate) {
  auto nested = [](size_t n, const std::string &open, const std::string &middle,
                   const std::string &close) {
    std::string source;
    for (size_t i = 0; i < n; ++i)
      source += open;
    source += middle;
    for (size_t i = 0; i < n; ++i)
      source += close;
    return source;
  };
  for (size_t n : {1000, 100'000}) {
    EXPECT_EQ(codeOf("{{ " + nested(n, "(", "1", ")") + " }}"), "T12");
    EXPECT_EQ(codeOf("{{ " + nested(n, "[", "1", "]") + " }}"), "T12");
    EXPECT_EQ(codeOf("{{ " + nested(n, "{1: ", "1", "}") + " }}"), "T12");
    EXPECT_EQ(codeOf("{{ " + nested(n, "not ", "1", "") + " }}"), "T12");
    EXPECT_EQ(codeOf("{{ " + nested(n, "- ", "1", "") + " }}"), "T12");
    EXPECT_EQ(codeOf("{{ " + nested(n, "1 + ", "1", "") + " }}"), "T12");
    EXPECT_EQ(codeOf("{{ 1" + nested(n, " | abs", "", "") + " }}"), "T12");
    EXPECT_EQ(codeOf("{{ a" + nested(n, ".a", "", "") + " }}"), "T12");
    EXPECT_EQ(codeOf("{{ " + nested(n, "1 if 1 else ", "1", "") + " }}"),
              "T12");
  }
  EXPECT_EQ(codeOf(nested(10'000, "{% if 1 %}", "1", "{% endif %}")), "T12");
  EXPECT_EQ(codeOf("{% set " + nested(10'000, "(", "x", ")") + " = 1 %}"),
            "T12");
  EXPECT_EQ(codeOf("{{ " + nested(40, "(", "1", ")") + " }}"), "");
  EXPECT_EQ(codeOf(nested(40, "{% if 1 %}", "1", "{% endif %}")), "");
  EXPECT_EQ(codeOf("{{ " + nested(100, "1 + ", "1", "") + " }}"), "");
  std::string arguments, parameters;
  for (int i = 0; i < 100'000; ++i) {
    arguments += "a" + std::to_string(i) + "=1,";
    parameters += (i ? ",a" : "a") + std::to_string(i);
  }
  EXPECT_EQ(codeOf("{{ dict(" + arguments + ") }}"), "T12");
  EXPECT_EQ(codeOf("{% macro m(" + parameters + ") %}{% endmacro %}"), "T12");
  EXPECT_EQ(codeOf(std::string((size_t(1) << 20) + 1, 'x')), "T12");
  EXPECT_EQ(codeOf(std::string(size_t(1) << 20, 'x')), "");
}

TEST(ChatTemplate, T12_HugeOutput) {
  EXPECT_EQ(codeOf("{{ 'x' * 1073741824 }}"), "T12");
  EXPECT_EQ(codeOf("{{ 'x' * 9223372036854775807 }}"), "T12");
  EXPECT_EQ(codeOf("{{ [1] * 1073741824 }}"), "T12");
  EXPECT_EQ(codeOf("{% set ns = namespace(s='x') %}{% for i in range(30) %}"
                   "{% set ns.s = ns.s ~ ns.s %}{% endfor %}{{ ns.s }}"),
            "T12");
  EXPECT_EQ(codeOf("{% set ns = namespace(s='aa') %}{% for i in range(30) %}"
                   "{% set ns.s = ns.s.replace('a', ns.s) %}{% endfor %}"),
            "T12");
  EXPECT_EQ(codeOf("{% set ns = namespace(l=[1]) %}{% for i in range(40) %}"
                   "{% set ns.l = [ns.l, ns.l] %}{% endfor %}{{ ns.l }}"),
            "T12");
  EXPECT_EQ(codeOf("{% set s = 'x' * 1000000 %}{% for i in range(1000) %}"
                   "{{ s }}{% endfor %}"),
            "T12");
  EXPECT_EQ(codeOf("{{ 'x' | indent(1073741824, true) }}"), "T12");
  EXPECT_EQ(codeOf("{{ [1] | tojson(indent=1073741824) }}"), "T12");
  EXPECT_EQ(codeOf("{{ 'x' * 1000000 }}"), "");
  RenderOptions options = fixedTime();
  options.budget.maxOutputBytes = 10;
  EXPECT_EQ(codeOf("{{ 'x' * 11 }}", userSays("x"), options), "T12");
  EXPECT_EQ(codeOf("{{ 'x' * 10 }}", userSays("x"), options), "");
}

TEST(ChatTemplate, T12_NestedValues) {
  EXPECT_EQ(codeOf("{% set ns = namespace(l=[]) %}{% for i in range(50000) %}"
                   "{% set ns.l = [ns.l] %}{% endfor %}"),
            "T12");
  EXPECT_EQ(codeOf("{% set ns = namespace(l={}) %}{% for i in range(50000) %}"
                   "{% set ns.l = {'a': ns.l.get} %}{% endfor %}"),
            "T12");
  // A namespace may hold itself.
  EXPECT_EQ(codeOf("{% set ns = namespace() %}{% set ns.self_ = ns %}"
                   "{% set ns.l = [ns, ns.self_.self_] %}{{ ns == ns.self_ }}"),
            "");
  EXPECT_EQ(codeOf("{% set ns = namespace() %}{% for x in [1] %}"
                   "{% set ns.loop = loop %}{% set l = ns.loop %}{% endfor %}"
                   "{% set l = ns.loop %}{{ l.index }}{{ l.last }}"),
            "");
  Json deep = Json::parse(std::string(5000, '[') + std::string(5000, ']'));
  Json context = userSays("x");
  context["deep"] = deep;
  EXPECT_EQ(codeOf("{{ deep }}", context), "T12");
}

TEST(ChatTemplate, T12_NoAccessToInternals) {
  for (const char *source :
       {"{{ ''.__class__ }}", "{{ ''.__class__.__mro__[1].__subclasses__() }}",
        "{{ messages.__init__ }}", "{{ range.__globals__ }}",
        "{{ ''['__class__'] }}", "{{ messages[0]['__class__'] }}",
        "{{ [''] | map(attribute='__class__') | list }}",
        "{{ [''] | map(attribute='__class__.__base__') | list }}",
        "{{ [''] | selectattr('__class__') | list }}",
        "{{ [''] | sort(attribute='__class__') }}",
        "{{ ''['__cl' ~ 'ass__'] }}", "{{ namespace()['__class__'] or 1 }}",
        "{% macro m() %}{% endmacro %}{{ m.__globals__ }}",
        "{% set ns = namespace() %}{% set ns.__class__ = 1 %}"})
    EXPECT_TRUE(codeOf(source) == "T12" ||
                std::string(source).find("namespace()[") != std::string::npos)
        << source;
  for (const char *source :
       {"{{ ''|attr('__class__') }}", "{{ lipsum.__globals__ }}",
        "{{ self.__init__ }}", "{{ cycler.__init__.__globals__.os }}",
        "{% include '/etc/passwd' %}", "{% import 'os' as os %}",
        "{% extends 'x' %}", "{{ config.items() }}",
        "{{ '{0.__class__}'.format('') }}", "{{ ''.encode() }}"})
    EXPECT_NE(codeOf(source), "") << source;
  // A message may have such a key.
  Json context = userSays("x");
  context["messages"][0]["__class__"] = "key";
  EXPECT_EQ(renderMarked("{{ messages[0]['__class__'] }}", context), "«key»");
}

TEST(ChatTemplate, T12_LongTextIsNoProblem) {
  Json context = userSays(std::string(size_t(16) << 20, 'x'));
  context["add_generation_prompt"] = true;
  for (const char *name : {"smollm2", "qwen3", "llama3", "smollm3"}) {
    auto spans = render(readSource(name), context, fixedTime());
    ASSERT_TRUE(spans.ok()) << name << spans.status().line("chorus");
    EXPECT_GE(joined(*spans).size(), size_t(16) << 20);
  }
}

TEST(ChatTemplate, ManyMessages) {
  Json context = userSays("x");
  for (int i = 0; i < 2000; ++i) {
    context["messages"].push_back(message("assistant", "answer"));
    context["messages"].push_back(message("user", "question"));
  }
  for (const char *name : {"smollm2", "qwen3", "llama31", "mistral-v3"})
    EXPECT_EQ(codeOf(readSource(name), context), "") << name;
}

//===-- Errors ------------------------------------------------------------===//

TEST(ChatTemplate, ErrorsNameTheConstructAndItsPlace) {
  struct Case {
    const char *source;
    const char *line;
  };
  const Case cases[] = {
      {"a\n  {{ x | urlize }}",
       "chorus: error template: chat template:2:10: filter 'urlize' is outside "
       "the supported subset"},
      {"{{ 1 is filter }}",
       "chorus: error template: chat template:1:9: test 'filter' is outside "
       "the supported subset"},
      {"{% include 'x' %}",
       "chorus: error template: chat template:1:4: tag 'include' is outside "
       "the supported subset"},
      {"{% for x in y recursive %}{% endfor %}",
       "chorus: error template: chat template:1:15: a recursive loop is "
       "outside the supported subset"},
      {"{{ 'x'.zfill(3) }}",
       "chorus: error template: chat template:1:7: str.zfill is outside the "
       "supported subset"},
      {"{{ '%s' % 1 }}",
       "chorus: error template: chat template:1:9: formatting of strings with "
       "% is outside the supported subset"},
      {"{{ f(*args) }}",
       "chorus: error template: chat template:1:6: unpacking of arguments with "
       "* or ** is outside the supported subset"},
      {"{{ x.y }}",
       "chorus: error template: chat template:1:5: 'x' is undefined"},
      {"{% if 1 %}\n",
       "chorus: error template: chat template:1:11: template ends, expected "
       "'endif'"},
      {"{{ raise_exception('no \x1b[31m system') }}",
       "chorus: error template: chat template:1:19: no \\x1b[31m system"},
      {"{{ 9223372036854775807 + 1 }}",
       "chorus: error template: chat template:1:24: result does not fit in a "
       "64-bit integer"},
      {"{{ 9223372036854775808 }}",
       "chorus: error template: chat template:1:4: integer does not fit in 64 "
       "bits"},
      {"{{ '{:>3}'.format(1) }}",
       "chorus: error template: chat template:1:18: format with anything but a "
       "name or number in braces is outside the supported subset"},
      {"{{ ''.__class__ }}",
       "chorus: error T12: chat template:1:7: attribute '__class__' is not "
       "accessible"},
  };
  for (const Case &test : cases)
    EXPECT_EQ(renderMarked(test.source, userSays("x")), test.line)
        << test.source;
}

TEST(ChatTemplate, T09_TextThatIsNotUtf8) {
  EXPECT_EQ(codeOf("{{ messages }}", userSays("\xc0\xaf")), "T09");
  EXPECT_EQ(codeOf("{{ messages }}", userSays("\xed\xa0\x80")), "T09");
  Json context = userSays("x");
  context["messages"][0]["\xff"] = 1;
  EXPECT_EQ(codeOf("{{ messages }}", context), "T09");
  EXPECT_EQ(codeOf("{{ messages }}", userSays("\xc3\xa9")), "");
  EXPECT_EQ(codeOf("\xc0\xaf", userSays("x")), "template");
}

TEST(ChatTemplate, NulIsOrdinaryText) {
  Json context = userSays(std::string("a\0b", 3));
  auto spans = render(std::string("\0{{ messages[0].content }}", 26), context,
                      fixedTime());
  ASSERT_TRUE(spans.ok());
  EXPECT_EQ(joined(*spans), std::string("\0a\0b", 4));
}

TEST(ChatTemplate, ContextMustBeAnObject) {
  EXPECT_EQ(codeOf("x", Json::array()), "template");
  EXPECT_EQ(codeOf("x", Json::object()), "");
  Json context = userSays("x");
  context["big"] = 18446744073709551615u;
  EXPECT_EQ(codeOf("{{ big }}", context), "template");
  EXPECT_EQ(codeOf("{{ bos_token }}", context), "");
}

TEST(ChatTemplate, OneTemplateRendersManyTimes) {
  StatusOr<ChatTemplate> parsed = ChatTemplate::parse(readSource("llama31"));
  ASSERT_TRUE(parsed.ok());
  std::vector<ChatTemplate> copies(2, *parsed);
  auto first = copies[0].render(userSays("a"), fixedTime());
  auto second = copies[1].render(userSays("a"), fixedTime());
  ASSERT_TRUE(first.ok() && second.ok());
  EXPECT_EQ(*first, *second);
}

// Any cut of a template parses or is refused, whatever it was cut through.
TEST(ChatTemplate, PrefixesOfATemplateAreRefusedOrRender) {
  Json context =
      withTokens(Json::parse(readFile(dataPath("contexts.json"))).at("tools"));
  for (const char *name : {"llama31", "hermes", "loop-controls"}) {
    std::string source = readSource(name);
    for (size_t size = 0; size < source.size(); size += 3) {
      auto spans = render(source.substr(0, size), context, fixedTime());
      if (!spans.ok())
        EXPECT_EQ(spans.status().exitCode(), ExitCode::Refused);
    }
  }
}
