package console

import (
	"bytes"
	"embed"
	"html/template"
	"net/http"
	"net/url"
	"time"
)

//go:embed templates/*.html style.css
var files embed.FS

var pageNames = []string{"login", "consent", "logout", "fault", "error", "access", "apps", "new", "admin", "device", "done", "audit"}

// parseTemplates has each page with the layout around it.
func parseTemplates() (map[string]*template.Template, error) {
	layout, err := template.New("").Funcs(template.FuncMap{
		"t":      text,
		"see":    visible,
		"path":   url.PathEscape, // an id is a stranger's word, too: it must not make a form's address another
		"moment": func(t time.Time) string { return t.UTC().Format("2006-01-02T15:04Z") },
		"date":   func(t time.Time) string { return t.UTC().Format(time.DateOnly) },
	}).ParseFS(files, "templates/layout.html")
	if err != nil {
		return nil, err
	}
	out := map[string]*template.Template{}
	for _, name := range pageNames {
		page, err := layout.Clone()
		if err == nil {
			page, err = page.ParseFS(files, "templates/"+name+".html")
		}
		if err != nil {
			return nil, err
		}
		out[name] = page
	}
	return out, nil
}

// view is what every page has, and its own data.
type view struct {
	Title  string // of the service
	Page   string
	User   string
	Admin  bool
	CSRF   string
	Wanted any
}

// show writes a page, or nothing where its template fails.
func (c *Console) show(v *visit, status int, name string, data any) error {
	var out bytes.Buffer
	if err := c.templates[name].ExecuteTemplate(&out, "layout", view{Title: c.config.Title, Page: name, User: v.user, Admin: v.admin,
		CSRF: c.sessions.token(v.cookie), Wanted: data}); err != nil {
		return err
	}
	h := v.w.Header()
	h.Set("Content-Type", "text/html; charset=utf-8")
	h.Set("Content-Security-Policy", policy(v.leads))
	v.w.WriteHeader(status)
	_, _ = v.w.Write(out.Bytes()) // the visitor may have gone
	return nil
}

// policy lets a page have its stylesheet and forms that lead to the console, and to the sources besides.
func policy(leads string) string {
	p := "default-src 'none'; style-src 'self'; base-uri 'none'; frame-ancestors 'none'; form-action 'self'"
	if leads != "" {
		p += " " + leads
	}
	return p
}

// Harden is said with every answer. The referrer stays within the console: without any, a form's POST would say that it
// comes from nowhere, which is what forged ones say.
func Harden(h http.Header) {
	h.Set("Content-Security-Policy", policy(""))
	h.Set("X-Frame-Options", "DENY")
	h.Set("X-Content-Type-Options", "nosniff")
	h.Set("Referrer-Policy", "same-origin")
	h.Set("Cross-Origin-Resource-Policy", "same-origin")
	h.Set("Permissions-Policy", "camera=(), geolocation=(), microphone=(), payment=()")
	h.Set("Cache-Control", "no-store")
}

// Style is the stylesheet of the pages.
func Style(w http.ResponseWriter, _ *http.Request) {
	style, err := files.ReadFile("style.css")
	if err != nil {
		http.Error(w, "", http.StatusInternalServerError)
		return
	}
	w.Header().Set("Content-Type", "text/css; charset=utf-8")
	w.Header().Set("Cache-Control", "public, max-age=600")
	_, _ = w.Write(style)
}
