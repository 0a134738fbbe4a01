/** The command as a process: what the terminal gives goes in, an exit code comes out. */
import nodeModule from "node:module";
import { fileURLToPath } from "node:url";

// As the server does: what is compiled once is kept beside the installed packages.
nodeModule.enableCompileCache(fileURLToPath(new URL("../../node_modules/.cache/compiled", import.meta.url)));
const { main } = await import("./main.ts");

const exitInterrupted = 130;
const stopped = new AbortController();
const stop = (): void => {
  // A second signal does not wait.
  if (stopped.signal.aborted) process.exit(exitInterrupted);
  stopped.abort(new Error("interrupted"));
};
process.on("SIGINT", stop).on("SIGTERM", stop);
// `pawf … | head` closes the pipe: nobody reads on, which is no failure.
process.stdout.on("error", (error: NodeJS.ErrnoException) => process.exit(error.code === "EPIPE" ? 0 : 1));

const code = await main(process.argv.slice(2), {
  env: process.env,
  out: process.stdout,
  err: process.stderr,
  input: process.stdin,
  signal: stopped.signal,
});
process.exitCode = stopped.signal.aborted ? exitInterrupted : code;
// What is written to a pipe has to reach it; open connections have not.
process.stdout.write("", () => process.exit());
