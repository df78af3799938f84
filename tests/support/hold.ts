// hold.ts lease|guard DIR: holds it until its standard input ends.
import { guard, lease } from "../../lib/lock/directory.ts";

const [what, dir] = Deno.args as ["lease" | "guard", string];
const purpose = `a test's ${what}`;
using _ = await (what === "lease" ? lease : guard)(dir, { purpose });
Deno.stdout.writeSync(new TextEncoder().encode("held\n"));
await Deno.stdin.read(new Uint8Array(1));
