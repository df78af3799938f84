// link_when_told.ts: for each JSON array of linkTree's arguments on standard input,
// links and prints one line: {"report": …} or {"error": {"name": …, "kind": …}}.
// All modules are loaded by then, so a tracer sees the calls of the link only.
import { LinkError } from "../../lib/link/error.ts";
import { linkTree } from "../../lib/link/tree.ts";

const decoder = new TextDecoder();
const say = (answer: object) =>
  Deno.stdout.writeSync(
    new TextEncoder().encode(JSON.stringify(answer) + "\n"),
  );

say({ ready: true });
for await (const chunk of Deno.stdin.readable) {
  try {
    const [src, dst, options] = JSON.parse(decoder.decode(chunk));
    say({ report: await linkTree(src, dst, options) });
  } catch (error) {
    const { name, message } = error as Error;
    const kind = error instanceof LinkError ? error.kind : undefined;
    say({ error: { name, message, kind } });
  }
}
