package diagnose

import "slices"

// Repairable says whether the table of suspicion has a line for a kind.
func Repairable(k Kind) bool { return len(table[k]) > 0 }

// Unrepairable says whether a kind is listed among those that no operator repairs.
func Unrepairable(k Kind) bool { return slices.Contains(unrepairable, k) }
