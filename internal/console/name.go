package console

import (
	"strings"
	"unicode"

	"golang.org/x/text/unicode/norm"
)

const longestShown = 120

// visible is a stranger's text without what cannot be seen: control characters, and those that turn the direction of
// writing or have no width. It is cut where it would fill the page.
func visible(s string) string {
	s = strings.Map(func(r rune) rune {
		switch {
		case unicode.IsSpace(r):
			return ' '
		case unseen(r):
			return -1
		}
		return r
	}, strings.ToValidUTF8(s, "\uFFFD"))
	if runes := []rune(s); len(runes) > longestShown {
		s = string(runes[:longestShown]) + "…"
	}
	return strings.TrimSpace(s)
}

func unseen(r rune) bool {
	return unicode.In(r, unicode.Cc, unicode.Cf, unicode.Co, unicode.Cs, unicode.Variation_Selector) ||
		r == '\u115f' || r == '\u1160' || r == '\u3164' || r == '\uffa0' || r == '\u034f' || unicode.Is(unicode.Zl, r) || unicode.Is(unicode.Zp, r)
}

// hidden tells a name with characters that cannot be seen.
func hidden(s string) bool { return strings.ContainsFunc(s, unseen) }

// scripts are those whose letters can be taken for one another's.
var scripts = []*unicode.RangeTable{unicode.Latin, unicode.Cyrillic, unicode.Greek, unicode.Armenian, unicode.Cherokee, unicode.Coptic, unicode.Lisu}

// mixed tells a name with letters of more than one of those scripts.
func mixed(s string) bool {
	found := 0
	for _, script := range scripts {
		if strings.ContainsFunc(s, func(r rune) bool { return unicode.Is(script, r) }) {
			found++
		}
	}
	return found > 1
}

// alike has, for letters that look like those of a to z, the letter; the list is of those that a reader of Latin letters
// mistakes at the size of a page's text, in the sense of Unicode Technical Standard 39, section 4.
var alike = letters()

func letters() map[rune]string {
	all := map[rune]string{}
	for latin, others := range map[string]string{
		"a": "аαɑ@4", "b": "вьƅβ", "c": "сϲⅽ", "d": "ԁɗⅾ", "e": "еєεҽℯ3", "f": "ғſϝ", "g": "ɡցǥ9", "h": "һнհ", "k": "кκ", "m": "мⅿ",
		"l": "iıіιӏ1|!ⅼⅰℓłיןӀІ", "j": "јϳ", "n": "ոпη", "o": "оοσ0օøөѳ", "p": "рρƿ", "q": "ԛզ", "r": "гᴦ", "s": "ѕꜱ5$", "t": "тτ7", "u": "υսцʋ",
		"v": "νѵⅴ", "w": "ԝѡωա", "x": "хχⅹ×", "y": "уγүყ", "z": "ᴢ2",
	} {
		for _, r := range others {
			all[r] = latin
		}
	}
	return all
}

// skeleton is what a name looks like: names with equal ones are mistaken for each other. It is compared, and never shown.
func skeleton(name string) string {
	var out strings.Builder
	for _, r := range strings.ToLower(norm.NFKD.String(name)) {
		switch latin, ok := alike[r]; {
		case ok:
			out.WriteString(latin)
		case unicode.IsLetter(r) || unicode.IsDigit(r):
			out.WriteRune(r)
		}
	}
	return strings.NewReplacer("rn", "m", "vv", "w").Replace(out.String())
}
