// Package forecast says how long the rest of a transfer takes, and how sure
// that is.
//
// Bytes confirmed become rates of one second each. Many cheap predictors of
// the mean rate over the time that is left run side by side; each bets again
// and again on a stretch of the near future, and the one whose bets came out
// best lately is followed: the tournament of the Network Weather Service
// (Wolski, "Dynamically forecasting network performance", 1998), with bets as
// long as the horizon instead of the next sample.
//
// The width of the interval comes from how much means over ever longer
// stretches differ from each other (Allan, "Statistics of atomic frequency
// standards", 1966), multiplied by what earlier transfers on the same path
// have shown to be needed ([Calibration]).
//
// The package is pure: instants are durations since the start of a job. It
// finds nothing on disk; what earlier jobs left behind is an argument.
//
// Start reading at [Forecast].
package forecast
