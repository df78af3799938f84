// lock_file.ts FILE: locks it, and holds it until its standard input ends.
import { attemptLock } from "../../lib/lock/file.ts";

using _ = attemptLock(Deno.args[0]!, true, "create");
Deno.stdout.writeSync(new TextEncoder().encode(_ ? "held\n" : "busy\n"));
await Deno.stdin.read(new Uint8Array(1));
