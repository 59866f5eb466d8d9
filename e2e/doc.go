// Package e2e takes the built program through whole upgrades, there and back, on real servers under traffic, and judges
// what clients saw. What looks at one command's words alone is tested in cmd.
package e2e
