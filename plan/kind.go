package plan

import "time"

// Kinds lists the step kinds in the order in which they make sense.
func Kinds() []StepKind {
	return []StepKind{
		Preflight, TokenLifetimes, PauseJobs, CompatViews, Capture, Snapshot, Cleanup,
		Migrate, Replay, Validate, Cutover, Monitor, Retire,
	}
}

// NewConfig is a pointer to the kind's own fields with their defaults, or nil if there is no such kind.
func NewConfig(kind StepKind) any {
	var config any
	switch kind {
	case Preflight:
		config = &PreflightSpec{}
	case TokenLifetimes:
		config = &TokenLifetimesSpec{}
	case PauseJobs:
		config = &PauseJobsSpec{}
	case CompatViews:
		config = &CompatViewsSpec{}
	case Capture:
		config = &CaptureSpec{}
	case Snapshot:
		config = &SnapshotSpec{}
	case Cleanup:
		config = &CleanupSpec{}
	case Migrate:
		config = &MigrateSpec{}
	case Replay:
		config = &ReplaySpec{}
	case Validate:
		config = &ValidateSpec{}
	case Cutover:
		config = &CutoverSpec{}
	case Monitor:
		config = &MonitorSpec{}
	case Retire:
		config = &RetireSpec{}
	default:
		return nil
	}
	setDefaults(config)
	return config
}

// setDefaults fills in what a field has when the file does not name it. It is called before decoding, so that a value
// of 0 in the file stays 0. v is a pointer to a struct; structs without defaults are left alone.
func setDefaults(v any) {
	switch s := v.(type) {
	case *LockBudget:
		s.Timeout, s.Retry = 500*time.Millisecond, 5*time.Minute
	case *PreflightSpec:
		s.MaxTransaction, s.MaxClockSkew, s.MaxQuery = 5*time.Minute, 2*time.Second, time.Minute
	case *CompatViewsSpec:
		s.Timeout = 2 * time.Hour
	case *CaptureSpec:
		s.Source, s.OnError, s.MaxWALMB = "triggers", "fail", 10240
	case *SnapshotSpec:
		s.Jobs = 2
	case *ReplaySpec:
		s.Batch, s.UntilLag, s.UntilAge, s.Timeout = 2000, 100, 2*time.Second, time.Hour
	case *CutoverSpec:
		s.Deadline, s.DrainLogins, s.Tries, s.MaxLag = 10*time.Second, 5*time.Second, 3, 1000
		s.MaxTransaction, s.MinDisk, s.CanaryShare = 30*time.Second, 1024, 0.1
	case *ParticipantSpec:
		s.Timeout = 5 * time.Second
	case *MonitorSpec:
		s.MaxErrorRate = 0.01
	case *Profile:
		s.Schema = "public"
	}
}

func kindNames() []string {
	names := make([]string, 0, len(Kinds()))
	for _, k := range Kinds() {
		names = append(names, string(k))
	}
	return names
}
