/** fast-check with one seed for every run: a red run can be run again. `TEST_SEED=random` (or a number) searches elsewhere. */
import fc from "fast-check";

const { TEST_SEED: wanted = "20261130" } = process.env;
if (wanted !== "random") fc.configureGlobal({ seed: Number(wanted) });

export { fc };
