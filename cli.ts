/**
 * The command line as a program: `deno run -A jsr:@rebuild/cache/cli --dir DIR`.
 *
 * @module
 */

import { main } from "./lib/cli/main.ts";

export { main };

// Not Deno.exitCode: a removal that the OS has begun would hold back a Ctrl-C.
if (import.meta.main) Deno.exit(await main(Deno.args));
