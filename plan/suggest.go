package plan

import (
	"fmt"
	"regexp"
	"strings"
)

// nearest is the known word that was probably meant, or "".
func nearest(word string, known []string) string {
	best, distance := "", len(word)/3+2
	if len(word) > 64 {
		return ""
	}
	for _, k := range known {
		if d := editDistance(strings.ToLower(word), k); d < distance {
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

// editDistance is the Levenshtein distance in bytes.
func editDistance(a, b string) int {
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := 1; i <= len(a); i++ {
		diagonal := row[0]
		row[0] = i
		for j := 1; j <= len(b); j++ {
			cost := 1
			if a[i-1] == b[j-1] {
				cost = 0
			}
			diagonal, row[j] = row[j], min(row[j]+1, row[j-1]+1, diagonal+cost)
		}
	}
	return row[len(b)]
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
