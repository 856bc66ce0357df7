// Package arch holds the house's rules as data and as tests: which room may
// import which, what pure rooms may not contain, who owns which library, and
// what every file must look like. docs/architecture.md explains the rules.
package arch
