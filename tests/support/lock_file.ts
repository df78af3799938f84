// lock_file.ts FILE: locks it, and holds it until its standard input ends.
import { openParent } from "../../lib/fs/open.ts";
import { attemptLock } from "../../lib/lock/file.ts";

using place = openParent(Deno.args[0]!);
using _ = attemptLock(place.parent, place.name, true, "create");
Deno.stdout.writeSync(new TextEncoder().encode(_ ? "held\n" : "busy\n"));
await Deno.stdin.read(new Uint8Array(1));
