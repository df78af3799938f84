/** The servers of tests/support/servers.ts: programs that scripts/ci/servers.sh gets. */
export const SERVERS: readonly string[] = [
  "bazel-remote",
  "gofakes3",
  "nginx",
  "versitygw",
];

/** Where a server's program is, or `undefined`. */
export function findServer(name: string): string | undefined {
  const windows = Deno.build.os === "windows";
  const path = Deno.env.get("PATH")?.split(windows ? ";" : ":") ?? [];
  // Debian keeps nginx where ordinary users do not look.
  const folders = [...path, ...windows ? [] : ["/usr/sbin"], installed()];
  for (const folder of folders) {
    const program = `${folder}/${name}${windows ? ".exe" : ""}`;
    try {
      if (Deno.statSync(program).isFile) return program;
    } catch { /* not there */ }
  }
  return undefined;
}

/** The same folder as in scripts/ci/servers.sh. */
function installed(): string {
  const tools = Deno.env.get("REBUILD_CACHE_TOOLS");
  if (tools) return `${tools}/servers`;
  const home = Deno.env.get("HOME") ?? Deno.env.get("USERPROFILE") ?? "/tmp";
  const cache = Deno.env.get("XDG_CACHE_HOME") || `${home}/.cache`;
  return `${cache}/rebuild-cache-tools/servers`;
}
