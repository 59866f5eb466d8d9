package playground

import (
	"bytes"
	"embed"
	"html/template"
	"net"
	"net/http"

	"github.com/tideover/tideover/cutover/router"
	"github.com/tideover/tideover/internal/console"
)

//go:embed *.html
var files embed.FS

// parse reads a page of this folder.
func parse(name string) (*template.Template, error) {
	return template.New(name).ParseFS(files, name)
}

// show writes a page, or that it has failed.
func show(w http.ResponseWriter, status int, t *template.Template, data any) {
	var out bytes.Buffer
	if err := t.Execute(&out, data); err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
	w.Header().Set("Content-Type", "text/html; charset=utf-8")
	w.WriteHeader(status)
	_, _ = w.Write(out.Bytes()) // the visitor may have gone
}

// page is where a person steers the upgrade.
type page struct {
	place   Place
	upgrade *upgrade
	html    *template.Template
	guard   *console.Guard
}

func newPage(p Place, u *upgrade) (*page, error) {
	html, err := parse("page.html")
	return &page{p, u, html, console.NewGuard("tideover_playground")}, err
}

// pageView is what the page shows.
type pageView struct {
	Place
	now
	Refresh  int // in seconds
	Router   router.State
	NoRouter error
	CSRF     string
}

func (p *page) handler(at net.Addr) http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /style.css", console.Style)
	mux.HandleFunc("GET /{$}", p.show)
	for path, press := range map[string]func() error{
		"/start": p.upgrade.start, "/switch": p.upgrade.doSwitch, "/go-on": p.upgrade.goOn, "/rollback": p.upgrade.goBack} {
		mux.HandleFunc("POST "+path, func(w http.ResponseWriter, r *http.Request) {
			if err := press(); err != nil {
				http.Error(w, err.Error(), http.StatusConflict)
				return
			}
			http.Redirect(w, r, "/", http.StatusSeeOther)
		})
	}
	return p.guard.Around(at, "", mux)
}

func (p *page) show(w http.ResponseWriter, r *http.Request) {
	v := pageView{Place: p.place, now: p.upgrade.look(), Refresh: 2, CSRF: p.guard.Token(p.guard.Browser(w, r))}
	v.Router, v.NoRouter = p.upgrade.router.State(r.Context())
	if v.Open {
		v.Refresh = 1
	}
	show(w, http.StatusOK, p.html, v)
}
