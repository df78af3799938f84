// rebuild-cache in a working directory that was deleted.
import { main } from "../../cli.ts";

const dir = Deno.makeTempDirSync();
Deno.chdir(dir);
Deno.removeSync(dir);
Deno.exit(await main(Deno.args));
