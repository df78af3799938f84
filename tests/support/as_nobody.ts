// rebuild-cache as the user 65534, who has no rights but his own. Loaded as root,
// who can read the modules; then all threads become that user (nptl(7)).
// main() loads each command when it is needed, which would be too late here.
import "../../lib/cli/clear.ts";
import "../../lib/cli/link.ts";
import { main } from "../../lib/cli/main.ts";

const NOBODY = 65534;
const libc = Deno.dlopen("libc.so.6", {
  setgroups: { parameters: ["usize", "pointer"], result: "i32" },
  setgid: { parameters: ["u32"], result: "i32" },
  setuid: { parameters: ["u32"], result: "i32" },
});
const failed = libc.symbols.setgroups(0n, null) ||
  libc.symbols.setgid(NOBODY) || libc.symbols.setuid(NOBODY);
if (failed || Deno.uid() !== NOBODY) throw new Error("Still root");
Deno.exit(await main(Deno.args));
