package console

// Route is a route as tests see it.
type Route struct{ Method, Path string }

func Routes() []Route {
	var out []Route
	for _, r := range routes {
		out = append(out, Route{r.method, r.path})
	}
	return out
}

var (
	Texts    = texts
	Skeleton = skeleton
	Mixed    = mixed
	Hidden   = hidden
	Visible  = visible
)

const MaxForm = maxForm

// CheapLine is a line of a users file whose hash takes no time.
func CheapLine(name, password string) string {
	return name + ":" + encode(hash{memory: 64, passes: 1, lanes: 1}, password) + "\n"
}
