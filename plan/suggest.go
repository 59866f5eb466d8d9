package plan

import (
	"fmt"
	"regexp"
	"strings"

	"github.com/agnivade/levenshtein"
)

// nearest is the known word that was probably meant, or "".
func nearest(word string, known []string) string {
	best, distance := "", len(word)/3+2
	if len(word) > 64 {
		return ""
	}
	for _, k := range known {
		if d := levenshtein.ComputeDistance(strings.ToLower(word), k); d < distance {
			best, distance = k, d
		}
	}
	return best
}

// suggest is a hint for a word that is none of the known ones: the nearest of them, or all.
func suggest(word string, known []string) string {
	if best := nearest(word, known); best != "" {
		return fmt.Sprintf("did you mean %q?", best)
	}
	if len(known) == 0 {
		return "nothing can be set here"
	}
	return "known here: " + strings.Join(known, ", ")
}

var wordLike = regexp.MustCompile(`^[A-Za-z0-9_.-]{1,40}$`)

// quoted is a word of the file as an error may show it. What does not look like a word (a DSN that slipped into a key's
// place) is not shown.
func quoted(word string) string {
	if !wordLike.MatchString(word) {
		return "(not shown)"
	}
	return fmt.Sprintf("%q", word)
}
