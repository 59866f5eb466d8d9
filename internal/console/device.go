package console

import (
	"errors"
	"net/http"
	"net/url"
	"strings"
)

// devicePage is where a person types the code that a device shows.
type devicePage struct {
	Challenge, Code string
	Fault           string
	Given           bool // the code came with the address: somebody may have sent it
}

const pathDeviceVerify = "/oauth2/device/verify" // at the server

// deviceEnds are what a device's authorization can end as.
var deviceEnds = map[string]int{"granted": http.StatusOK, "refused": http.StatusOK, "failed": http.StatusGone}

// showDevice asks for the code, or says how it ended. Whoever comes here without a challenge is sent for one.
func (c *Console) showDevice(v *visit) error {
	q := v.r.URL.Query()
	if status, ok := deviceEnds[q.Get("done")]; ok {
		return c.show(v, status, "done", q.Get("done"))
	}
	code := q.Get("user_code")
	if q.Get("device_challenge") == "" {
		to := strings.TrimSuffix(c.config.Public, "/") + pathDeviceVerify
		if code != "" {
			to += "?user_code=" + url.QueryEscape(code)
		}
		return c.toServer(v, to)
	}
	return c.askDevice(v, http.StatusOK, devicePage{Challenge: q.Get("device_challenge"), Code: plainCode(code), Given: code != ""})
}

func (c *Console) askDevice(v *visit, status int, p devicePage) error {
	v.leads = originOf(c.config.Public)
	return c.show(v, status, "device", p)
}

// plainCode is what of a code can be one, for the field in which it is shown again.
func plainCode(code string) string {
	code = strings.Map(func(r rune) rune {
		if r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' {
			return r
		}
		return -1
	}, strings.ToUpper(code))
	if len(code) == 8 {
		return code[:4] + "-" + code[4:]
	}
	return code[:min(len(code), 20)]
}

// device takes the code. Wrong ones are counted by the address that they come from: eight letters can be guessed by whoever
// may go on trying.
func (c *Console) device(v *visit) error {
	p := devicePage{Challenge: v.form.Get("device_challenge"), Code: plainCode(v.form.Get("user_code"))}
	again := func(status int, problem string) error {
		p.Fault = text(problem)
		return c.askDevice(v, status, p)
	}
	from := c.address(v.r)
	if !c.tries.take(paceCode, from) {
		v.w.Header().Set("Retry-After", "15")
		return again(http.StatusTooManyRequests, "device.throttled")
	}
	to, err := c.api.answer(v.r.Context(), "device", p.Challenge, "accept", map[string]string{"user_code": p.Code})
	refused := new(apiError)
	switch {
	case missing(err):
		c.audit(v, "wrong device code", "")
		return again(http.StatusNotFound, "device.wrong")
	case errors.As(err, &refused) && refused.Status == http.StatusTooManyRequests:
		v.w.Header().Set("Retry-After", "15")
		return again(http.StatusTooManyRequests, "device.throttled")
	}
	c.tries.giveBack(paceCode, from)
	if err != nil {
		return err
	}
	c.audit(v, "accept device code", "")
	return c.toServer(v, to)
}

// forDevice tells a consent that leads to no app's address.
func forDevice(requestURL string) bool {
	u, err := url.Parse(requestURL)
	return err == nil && strings.HasSuffix(u.Path, pathDeviceVerify)
}
