//===- ScalarFunctions.h - exp and log of the compiled code -----*- C++ -*-===//
//
// Scores and length penalties use no others, so that they have the same bits
// on every machine.
//
//===----------------------------------------------------------------------===//

#ifndef CHORUS_RT_SCALARFUNCTIONS_H
#define CHORUS_RT_SCALARFUNCTIONS_H

#include "chorus_rt/step_abi.h"

namespace chorus::rt {

/// The functions of step_abi.h for one number. Both are null in code of
/// compilers that did not emit them.
struct ScalarFunctions {
  chorus_map_fn mapExp = nullptr, mapLog = nullptr;

  explicit operator bool() const { return mapExp && mapLog; }

  double exp(double x) const { return apply(mapExp, x); }
  double log(double x) const { return apply(mapLog, x); }
  /// `base` is positive.
  double power(double base, double exponent) const {
    return exp(exponent * log(base));
  }

private:
  static double apply(chorus_map_fn function, double x) {
    double result;
    function(&x, 1, &result);
    return result;
  }
};

} // namespace chorus::rt

#endif // CHORUS_RT_SCALARFUNCTIONS_H
