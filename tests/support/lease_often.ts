// lease_often.ts DIR: takes one lease after the other, each for a while, until its
// standard input ends.
import { lease } from "../../lib/lock/directory.ts";

const say = (text: string) =>
  Deno.stdout.writeSync(new TextEncoder().encode(`${text}\n`));
let open = true;
Deno.stdin.read(new Uint8Array(1)).then(() => open = false);
while (open) {
  using _ = await lease(Deno.args[0]!);
  say("held");
  await new Promise((resolve) =>
    setTimeout(resolve, 300 + 200 * Math.random())
  );
}
