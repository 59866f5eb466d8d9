// Package e2e takes the program, as processes of its own, through whole upgrades, there and back, on real servers under
// traffic, and judges what clients saw. What looks at one command's words alone is tested in cmd.
//
// Every run plays a core: the demo with all its judges, a kill in the cutover, a rollback after the point of no return, and
// the upgrade of the real Hydra. The rest is spread over ten runs; see internal/lab/slice.
package e2e
