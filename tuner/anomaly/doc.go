// Package anomaly tells from the rate, the round trip time and the losses of a
// transfer that its path or an end has changed, soon and seldom wrongly.
//
// There are two stages. The first is a CUSUM test (Page, "Continuous inspection
// schemes", 1954): it is quick, may err once in an hour, and tells those who
// pay little for an error, as the tuner and the forecast. The second is a
// sequential probability ratio test (Wald, "Sequential tests of statistical
// hypotheses", 1945) on what comes after the first one's alarm: what it confirms
// is told to people.
//
// Rates of neighbouring seconds are alike, and tests that take them for
// independent raise many times the false alarms they promise. So what is tested
// is not the rate but what of it the second before did not foretell.
//
// The package is pure: instants are durations since the start of a job. Start
// reading at [Watch].
package anomaly
