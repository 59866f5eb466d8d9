package plan

import "time"

// TokenLifetimes raises access-token lifetimes while the run is on.
const TokenLifetimes StepKind = "token-lifetimes"

// TokenLifetimesSpec are the fields of a token-lifetimes step.
type TokenLifetimesSpec struct {
	AccessToken time.Duration `yaml:"access_token"`
}

var tokenLifetimes = kind{
	name:     TokenLifetimes,
	standard: TokenLifetimesSpec{},
	fields: fields{
		"access_token": {Doc: "The lifetime that access tokens are raised to.", Required: true, Min: int64(time.Second)},
	},
	fit: func(f *fitting, _ any) {
		if f.p.Lifetimes == nil {
			f.add("step", "leave the step out, or add `lifetimes:` to the profile", "profile "+f.p.Name+" does not say how lifetimes are raised")
		}
	},
}
