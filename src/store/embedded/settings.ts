/** The settings the embedded PostgreSQL runs with. They go on its command line, which wins over every file in the cluster. */

export interface SettingsRequest {
  /** true for the service; false only in tests, where a power cut may lose everything. */
  readonly durable: boolean;
  readonly socketFolder: string;
  readonly overrides: Readonly<Record<string, string>>;
}

/** A laptop or a small container: about 2 cores, and memory that is shared with the service itself. */
const smallMachine = {
  // Each replica takes some 30 connections; the default of 100 is tight for three of them and a few tools.
  max_connections: "200",
  shared_buffers: "128MB",
  // At 300 bytes per step, 50,000 steps/s fill the default of 1 GB in a minute, and after each checkpoint every page
  // goes to the log in full once more. 2 GB and 10 minutes keep recovery after a crash within some ten seconds.
  max_wal_size: "2GB",
  min_wal_size: "256MB",
  checkpoint_timeout: "10min",
  // Whoever needs a new segment of the log makes it, while all other commits wait: filling its 16 MB with zeros first takes 50 ms (measured beside the
  // conversion of a file of 100 MiB, which needs one every 0.6 s). Commits into a segment that was not filled are as fast on ext4.
  wal_init_zero: "off",
  // Pays for itself on those full pages; the bundled build has no other method.
  wal_compression: "pglz",
  // Statements are short: compiling one costs more than running it, and parallel workers need /dev/shm, 64 MB in containers.
  jit: "off",
  max_parallel_workers_per_gather: "0",
  // Young tables must get statistics soon: without them the planner scans (43,000 → 2,000 steps/s for the journal).
  autovacuum_naptime: "15s",
  log_checkpoints: "off",
  log_line_prefix: "%m [%p] ",
  // A failed statement may hold a tenant's values; its error is logged, its text is not.
  log_min_error_statement: "panic",
  log_parameter_max_length_on_error: "0",
  log_timezone: "UTC",
  timezone: "UTC",
};

/** Nothing that was acknowledged may be lost, whatever postgresql.conf or a caller says. */
const durableSettings: Readonly<Record<string, string>> = { fsync: "on", synchronous_commit: "on", full_page_writes: "on" };

const testSettings = {
  fsync: "off",
  synchronous_commit: "off",
  full_page_writes: "off",
  log_min_error_statement: "error",
};

/** All settings as `-c` arguments. Overrides win, except over durability and over the way in (one socket, no network). */
export function settingArguments({ durable, socketFolder, overrides }: SettingsRequest): string[] {
  const settings = {
    ...smallMachine,
    ...(durable ? {} : testSettings),
    ...overrides,
    ...(durable ? durableSettings : {}),
    listen_addresses: "",
    unix_socket_directories: `"${socketFolder}"`,
    unix_socket_permissions: "0700",
    port: "5432", // only a part of the socket's name
  };
  return Object.entries(settings).flatMap(([name, value]) => ["-c", `${name}=${value}`]);
}
