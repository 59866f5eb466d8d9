package rehearsal

import (
	"context"
	"errors"
	"fmt"
	"math"
	"slices"
	"strings"
	"time"

	"github.com/tideover/tideover/cutover/router"
	"github.com/tideover/tideover/internal/cleanup"
	"github.com/tideover/tideover/internal/lab/traffic"
	"github.com/tideover/tideover/internal/oracle"
	"github.com/tideover/tideover/internal/postgres"
	"github.com/tideover/tideover/plan"
	"github.com/tideover/tideover/steps"
)

// sweepWithin bounds the last questions about everything that was ever issued.
const sweepWithin = 60 * time.Second

// judge has the checker and the oracle decide, and puts what they found into the report.
func (p *performance) judge(ctx context.Context) error {
	sweep, cancel := context.WithTimeout(ctx, sweepWithin)
	defer cancel()
	if err := p.generator.Sweep(sweep); err != nil {
		return fmt.Errorf("traffic: last questions: %w", err)
	}
	if router, err := router.NewClient(p.deployment.RouterControl, p.deployment.RouterToken).State(sweep); err != nil {
		return fmt.Errorf("ask the router for its figures: %w", err)
	} else {
		p.report.Requests.ReadWaitMSMax = router.LongestReadWaitMS
	}
	history := p.generator.History()
	if err := p.keep.history(history); err != nil {
		return fmt.Errorf("write the traffic's history: %w", err)
	}
	verdict := traffic.Check(history)
	p.checked(history, verdict)
	if verdict.FailedBefore > 0 {
		return &UnfitError{Requests: verdict.FailedBefore}
	}
	if p.switched() && (len(history.When(traffic.MarkFenced)) == 0 || len(history.When(traffic.MarkCommit)) == 0) {
		p.report.Findings = append(p.report.Findings, "checker: nothing was proved: the history does not say when nobody could write")
	}
	told, err := p.inventory.changed(ctx)
	if err != nil {
		return fmt.Errorf("ask again for what is older than the rehearsal: %w", err)
	}
	p.report.Findings = append(p.report.Findings, told...)
	if p.job != nil {
		session, err := p.job.ended(ctx)
		if err != nil {
			return err
		}
		p.elders.known = append(p.elders.known, session)
	}
	authorizations, revocations, findings, err := p.elders.lost(ctx)
	if err != nil {
		return fmt.Errorf("ask for the seeded sessions again: %w", err)
	}
	p.report.Authorizations.Lost += authorizations
	p.report.Revocations.Lost += revocations
	p.report.Findings = append(p.report.Findings, findings...)
	if p.pin == nil {
		if p.switched() {
			p.report.Findings = append(p.report.Findings, "oracle: nothing was proved: green's state at the switch was not kept, so that nothing was compared")
		}
		return p.held()
	}
	if p.compared == nil {
		comparison, err := p.consult(ctx)
		if err != nil {
			return fmt.Errorf("oracle: %w", err)
		}
		p.compared = &comparison
	}
	comparison := p.compared
	p.report.Oracle.Tables = comparison.Tables
	p.report.Oracle.RowsCompared = comparison.Rows
	p.report.Oracle.Differences, p.report.Oracle.Unseen = int(comparison.Count), comparison.Unseen
	for _, d := range comparison.Differences {
		p.report.Findings = append(p.report.Findings, "oracle: "+d.String())
	}
	if comparison.Tables == 0 || comparison.Rows == 0 {
		p.report.Findings = append(p.report.Findings, fmt.Sprintf("oracle: nothing was proved: %d tables with %d rows were compared", comparison.Tables, comparison.Rows))
	}
	return p.held()
}

// switched reports whether the run has brought its traffic to green.
func (p *performance) switched() bool {
	hasCutover := slices.ContainsFunc(p.runbook.Steps, func(s plan.StepSpec) bool { return s.Kind == plan.Cutover })
	return hasCutover && p.report.Outcome == "completed"
}

// checked takes the checker's figures into the report.
func (p *performance) checked(h *traffic.History, v traffic.Verdict) {
	r := p.report
	r.Requests.Total, r.Requests.Failed = v.Requests, v.Failed
	r.Revocations.Lost = v.RevocationsLost
	r.Revocations.Acknowledged, r.Revocations.InWindow = v.Revocations, v.RevocationsDuringReplayOrHold
	r.Authorizations.Issued, r.Authorizations.Lost = v.Issued, v.AuthorizationsLost
	for _, f := range v.Findings {
		r.Findings = append(r.Findings, "checker: "+f.String())
	}
	before, after := h.Latency(markBefore, markRun), h.Latency(markAfter, markEnd)
	r.Requests.P95MSBefore, r.Requests.P95MSAfter = milliseconds(before.P95), milliseconds(after.P95)
	r.Servers.Before.P95MS, r.Servers.After.P95MS = r.Requests.P95MSBefore, r.Requests.P95MSAfter
	held := h.Held()
	r.Requests.Held = held.Count
	r.Requests.HoldMSP50, r.Requests.HoldMSMax = milliseconds(held.P50), milliseconds(held.Max)
	reads := h.ReadsInHold()
	r.Requests.ReadsInHold, r.Requests.ReadMSInHold = reads.Count, milliseconds(reads.Max)
}

func milliseconds(d time.Duration) float64 { return float64(d.Microseconds()) / 1000 }

// consult migrates blue's final state offline and compares green, as it was at the switch, with it. The rules are whole
// here, whatever fault the run was given: the oracle says what should have been.
func (p *performance) consult(ctx context.Context) (oracle.Comparison, error) {
	blue, err := postgres.Open(ctx, "blue", p.deployment.BlueDSN)
	if err != nil {
		return oracle.Comparison{}, err
	}
	defer blue.Close()
	green, err := postgres.Open(ctx, "green", p.deployment.GreenDSN)
	if err != nil {
		return oracle.Comparison{}, err
	}
	defer green.Close()
	migrator, err := steps.Migrator(p.due(p.profile))
	if err != nil {
		return oracle.Comparison{}, err
	}
	approved := map[string]int64{}
	for _, rule := range p.profile.Rules {
		approved[rule.Name] = math.MaxInt64 // what a person has to approve is the run's business
	}
	rules := cleanup.New(p.profile.Rules, cleanup.Options{Schemas: p.profile.Schemas(), Approved: approved})
	reference, err := oracle.Expected(ctx, blue, green, p.profile, migrator, rules, p.deployment.Green.BinDir())
	if err != nil {
		return oracle.Comparison{}, err
	}
	defer reference.Drop()
	expected, err := postgres.Connect(ctx, "oracle", reference.DSN)
	if err != nil {
		return oracle.Comparison{}, err
	}
	defer expected.Close(context.WithoutCancel(ctx))
	clock := reference.Clock
	if clock.Since, err = oracle.Ago(ctx, expected, p.state.Started); err != nil {
		return oracle.Comparison{}, err
	}
	return oracle.Compare(ctx, expected, p.pin.Conn(), p.profile, clock)
}

// held is the error that says what the judges hold against the run, or nil.
func (p *performance) held() error {
	if len(p.report.Findings) == 0 {
		return nil
	}
	return &JudgedError{Findings: p.report.Findings}
}

// UnfitError is a rehearsal whose throw-away servers failed before the run began: it says nothing of the upgrade.
type UnfitError struct{ Requests int }

func (e *UnfitError) Error() string {
	return fmt.Sprintf("%d requests failed before the run began: the throw-away servers are not up to the traffic, and nothing is said of the upgrade", e.Requests)
}

// Hint says what to do.
func (e *UnfitError) Hint() string {
	return "run it on a machine with less to do, or with --size tiny; --keep leaves the servers' logs"
}

// JudgedError is a run that the checker or the oracle finds fault with.
type JudgedError struct{ Findings []string }

const findingsShown = 10

func (e *JudgedError) Error() string {
	shown := e.Findings
	more := ""
	if len(shown) > findingsShown {
		more = fmt.Sprintf("\n  … and %d more", len(shown)-findingsShown)
		shown = shown[:findingsShown]
	}
	return fmt.Sprintf("the judges found %d faults:\n  %s%s", len(e.Findings), strings.Join(shown, "\n  "), more)
}

// ExitCode is 5: blue and green differ.
func (e *JudgedError) ExitCode() int { return 5 }

// Judged says whether err is the judges' word rather than a run that failed.
func Judged(err error) bool {
	var judged *JudgedError
	return errors.As(err, &judged)
}
