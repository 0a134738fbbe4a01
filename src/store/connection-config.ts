/** How a connection to PostgreSQL is made, with and without the ORM. */
import pg from "pg";
import { AppError } from "../base/errors.ts";

export interface ConnectionAddress {
  /** Host name, or the folder of a unix socket. */
  readonly host: string;
  readonly port: number;
  readonly user: string;
  readonly database: string;
  readonly password?: string;
}

/** Where the database is: a URL (`postgres://user:password@host:5432/name?sslmode=…`) or its parts. */
export type DatabaseTarget = string | ConnectionAddress;

/** Wait for a connection, from the network or from a pool; above it the caller is told to come back. */
export const connectTimeoutMs = 5_000;
/** A connection of a pool that nobody used for so long is closed. */
export const idleTimeoutMs = 60_000;

/** `pg`'s own form of a target, for connections outside the pool. */
export function clientConfig(target: DatabaseTarget, applicationName: string): pg.ClientConfig {
  if (typeof target === "string") databaseName(target);
  const address = typeof target === "string" ? { connectionString: target } : { ...target };
  return { ...address, application_name: applicationName, connectionTimeoutMillis: connectTimeoutMs, keepAlive: true, types: parsers() };
}

/** @throws AppError STORAGE_UNAVAILABLE for a URL that names no database */
export function databaseName(url: string): string {
  let name = "";
  try {
    name = decodeURIComponent(new URL(url).pathname.slice(1));
  } catch {
    // The message below covers it; the text itself may hold a password.
  }
  if (name === "") throw new AppError("STORAGE_UNAVAILABLE", "the database URL must have the form postgres://user:password@host:5432/name");
  return name;
}

/** See `database.ts`: what a query returns. */
export function parsers(): pg.TypeOverrides {
  const types = new pg.TypeOverrides();
  types.setTypeParser(pg.types.builtins.INT8, safeInteger);
  return types;
}

function safeInteger(text: string): number {
  const value = Number(text);
  if (!Number.isSafeInteger(value)) throw new RangeError("a bigint beyond 2^53 was read; select it as text");
  return value;
}
