// deno-lint-ignore-file no-console -- a script, whose words are for people
// versions.ts TAG [SAYS]: checks that a tag, deno.json, CHANGELOG.md and .dvmrc, and
// what the binary says to --version (SAYS), are about one version.
// versions.ts --notes TAG: prints what CHANGELOG.md has to say of it.

/** What is compared. */
export interface Versions {
  /** Such as `v0.1.0`. */
  tag: string;
  /** The text of deno.json. */
  config: string;
  /** The text of CHANGELOG.md. */
  changelog: string;
  /** The text of .dvmrc. */
  deno: string;
  /** What the binary prints for --version. */
  says?: string | undefined;
}

/** What does not fit, one line each. */
export function mismatches(
  { tag, config, changelog, deno, says }: Versions,
): string[] {
  const wrong: string[] = [];
  const { version } = JSON.parse(config);
  if (tag !== `v${version}`) {
    wrong.push(`The tag is ${tag}, but deno.json has ${version}`);
  }
  const section = sectionOf(changelog, version);
  if (!section) wrong.push(`CHANGELOG.md has no section "## ${version}"`);
  else if (!/ — \d{4}-\d\d-\d\d$/.test(section.title)) {
    wrong.push(`CHANGELOG.md: "${section.title}" has no date`);
  } else if (!section.text) {
    wrong.push(`CHANGELOG.md says nothing of ${version}`);
  }
  if (sectionOf(changelog, "Unreleased")?.text) {
    wrong.push(`CHANGELOG.md: what is "Unreleased" belongs to ${version}`);
  }
  const wanted = `rebuild-cache ${version} (Deno ${deno.trim()})`;
  if (says !== undefined && says.trim() !== wanted) {
    wrong.push(`The binary says "${says.trim()}", not "${wanted}"`);
  }
  return wrong;
}

/** A section of the changelog. */
export function sectionOf(
  changelog: string,
  name: string,
): { title: string; text: string } | undefined {
  for (const part of `\n${changelog}`.split("\n## ").slice(1)) {
    const [title = "", ...lines] = part.split("\n");
    if (title.split(" ")[0] !== name) continue;
    return { title: title.trim(), text: lines.join("\n").trim() };
  }
}

if (import.meta.main) {
  const read = (path: string) =>
    Deno.readTextFileSync(new URL(`../../${path}`, import.meta.url));
  const changelog = read("CHANGELOG.md");
  const [first = "", second] = Deno.args;
  if (first === "--notes") {
    const text = sectionOf(changelog, second?.replace(/^v/, "") ?? "")?.text;
    if (!text) {
      console.error(`CHANGELOG.md says nothing of ${second}`);
      Deno.exit(1);
    }
    console.log(text);
  } else {
    const [config, deno] = [read("deno.json"), read(".dvmrc")];
    const versions = { tag: first, config, changelog, deno, says: second };
    const wrong = mismatches(versions);
    for (const line of wrong) console.error(line);
    Deno.exit(wrong.length > 0 ? 1 : 0);
  }
}
