/** Programs in other languages that tests need: found or installed into a folder of the project's own, else the test says why it is skipped. */
import { execFile } from "node:child_process";
import { mkdir, rename, rm } from "node:fs/promises";
import path from "node:path";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";

const run = promisify(execFile);
const root = fileURLToPath(new URL("../../", import.meta.url));
const grpcio = "grpcio==1.76.0";
const protobuf = "protobuf==6.33.5";
const psycopg = "psycopg[binary]==3.3.9";

/** A command and its first arguments, or why there is none. */
export type Tool = { readonly command: readonly string[]; readonly environment?: Record<string, string> } | { readonly missing: string };

/** The driver of the Python SDK. */
export function pythonDriver(): Promise<Tool> {
  return pythonProgram("sdk/python/tests/barrier_driver.py");
}

/** Runs a program in a virtual environment with the Python SDK and its one dependency. */
export async function pythonProgram(script: string): Promise<Tool> {
  const tool = await pythonWith("python", [psycopg], "import psycopg", script);
  return "missing" in tool ? tool : { ...tool, environment: { ...tool.environment, PYTHONPATH: path.join(root, "sdk/python") } };
}

/** Runs Python program text (`-c`) with the client of the Python SDK. */
export async function pythonClient(): Promise<Tool> {
  const tool = await pythonWith("python-client", [grpcio, protobuf], "import grpc, google.protobuf", ".");
  if ("missing" in tool) return tool;
  // Seen once in fifteen runs on a busy machine: with its own poller, gRPC 1.76 left a connection unread for ever after others were cut.
  const grpc = { GRPC_EXPERIMENTS: "-event_engine_poller_for_python" };
  const python = { PYTHONPATH: path.join(root, "sdk/python"), PYTHONUNBUFFERED: "1" };
  return { command: [tool.command[0] as string, "-c"], environment: { ...tool.environment, ...grpc, ...python } };
}

/** Runs `script` of the project in a virtual environment `.tmp/<name>` with these packages; `probe` fails where they are missing. */
export async function pythonWith(name: string, packages: readonly string[], probe: string, script: string): Promise<Tool> {
  const venv = path.join(root, ".tmp", name);
  const python = path.join(venv, "bin/python");
  try {
    if (!(await runs(python, probe))) await makeEnvironment(venv, packages, probe);
  } catch (error) {
    return { missing: `Python with ${packages.join(", ")} is neither there nor can be installed (${firstLine(error)})` };
  }
  return { command: [python, path.join(root, script)], environment: { PYTHONIOENCODING: "utf-8" } };
}

async function runs(python: string, probe: string): Promise<boolean> {
  return await run(python, ["-c", probe]).then(
    () => true,
    () => false,
  );
}

/** Made beside its place and moved there whole: several tests may want it at once. */
async function makeEnvironment(venv: string, packages: readonly string[], probe: string): Promise<void> {
  const own = `${venv}-${process.pid}`;
  await run("python3", ["-m", "venv", own]);
  await run(path.join(own, "bin/python"), ["-m", "pip", "install", "--quiet", "--disable-pip-version-check", ...packages], { timeout: 120_000 });
  await rename(own, venv).catch(async (error: unknown) => {
    await rm(own, { recursive: true, force: true });
    if (!(await runs(path.join(venv, "bin/python"), probe))) throw error;
  });
}

/** The driver of the Go SDK. */
export function goDriver(): Promise<Tool> {
  return goProgram("barrierdriver", "sdk/go/barrier", "./cmd/barrierdriver");
}

/** Builds the package `main` of the module in `folder`. */
export async function goProgram(name: string, folder: string, main: string): Promise<Tool> {
  const binary = path.join(root, ".tmp", name);
  try {
    await mkdir(path.dirname(binary), { recursive: true });
    await run("go", ["build", "-o", binary, main], { cwd: path.join(root, folder), timeout: 180_000 });
  } catch (error) {
    return { missing: `the Go program ${name} cannot be built here (${firstLine(error)})` };
  }
  return { command: [binary] };
}

function firstLine(error: unknown): string {
  return String((error as { stderr?: string }).stderr || (error as Error).message).split("\n")[0] as string;
}
