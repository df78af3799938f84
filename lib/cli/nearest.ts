/** The word nearest to what was typed, if any is near enough to be meant. */
export function nearest(
  typed: string,
  words: readonly string[],
): string | undefined {
  let best: string | undefined;
  let least = Math.max(2, Math.floor(typed.length / 3)) + 1;
  for (const word of words) {
    const distance = word.startsWith(typed) && typed.length > 3
      ? 0
      : editDistance(typed, word);
    // Not a word of which nearly every letter would have to change.
    if (distance < least && distance < word.length - 1) {
      [best, least] = [word, distance];
    }
  }
  return best;
}

/** Levenshtein's distance: letters to add, drop or change. */
function editDistance(a: string, b: string): number {
  let row = Array.from({ length: b.length + 1 }, (_, column) => column);
  for (let i = 1; i <= a.length; i++) {
    const next = [i];
    for (let j = 1; j <= b.length; j++) {
      const change = row[j - 1]! + (a[i - 1] === b[j - 1] ? 0 : 1);
      next.push(Math.min(change, row[j]! + 1, next[j - 1]! + 1));
    }
    row = next;
  }
  return row[b.length]!;
}
