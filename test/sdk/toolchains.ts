/** Programs in other languages that tests need: found or installed into a folder of the project's own, else the test says why it is skipped. */
import { execFile } from "node:child_process";
import { existsSync } from "node:fs";
import { mkdir } from "node:fs/promises";
import path from "node:path";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";

const run = promisify(execFile);
const root = fileURLToPath(new URL("../../", import.meta.url));
const psycopg = "psycopg[binary]==3.3.9";

/** A command and its first arguments, or why there is none. */
export type Tool = { readonly command: readonly string[]; readonly environment?: Record<string, string> } | { readonly missing: string };

/** Runs the driver of the Python SDK in a virtual environment with its one dependency. */
export async function pythonDriver(): Promise<Tool> {
  const venv = path.join(root, ".tmp/python");
  const python = path.join(venv, "bin/python");
  try {
    if (!existsSync(python)) await run("python3", ["-m", "venv", venv]);
    const isThere = await run(python, ["-c", "import psycopg"]).then(
      () => true,
      () => false,
    );
    if (!isThere) await run(python, ["-m", "pip", "install", "--quiet", "--disable-pip-version-check", psycopg], { timeout: 120_000 });
  } catch (error) {
    return { missing: `Python with ${psycopg} is neither there nor can be installed (${firstLine(error)})` };
  }
  const environment = { PYTHONPATH: path.join(root, "sdk/python"), PYTHONIOENCODING: "utf-8" };
  return { command: [python, path.join(root, "sdk/python/tests/barrier_driver.py")], environment };
}

/** Builds the driver of the Go SDK. */
export async function goDriver(): Promise<Tool> {
  const binary = path.join(root, ".tmp/barrierdriver");
  try {
    await mkdir(path.dirname(binary), { recursive: true });
    await run("go", ["build", "-o", binary, "./cmd/barrierdriver"], { cwd: path.join(root, "sdk/go/barrier"), timeout: 180_000 });
  } catch (error) {
    return { missing: `the Go driver cannot be built here (${firstLine(error)})` };
  }
  return { command: [binary] };
}

function firstLine(error: unknown): string {
  return String((error as { stderr?: string }).stderr || (error as Error).message).split("\n")[0] as string;
}
