/** The text layer of a PDF. Scripts, fonts and links in it are never run, loaded or followed. */
import { fail, ok } from "../../base/result.ts";
import { failure } from "../../domain/failure.ts";
import type { FileJobOutcome } from "./file-job.ts";

const pagesMax = 2_000;

/** `{text, pages}`: pages are separated by a form feed. SCHEMA for a PDF that is broken or needs a password. */
export async function readPdfText(bytes: Buffer): Promise<FileJobOutcome> {
  const { extractText, getDocumentProxy } = await import("unpdf");
  const document = await getDocumentProxy(Uint8Array.from(bytes), { disableFontFace: true, useSystemFonts: false, verbosity: 0 });
  if (document.numPages > pagesMax) return fail(failure("LIMIT.PAGES", `the PDF has ${document.numPages} pages; the limit is ${pagesMax}`));
  const { text, totalPages } = await extractText(document, { mergePages: false });
  await document.cleanup();
  return ok({ kind: "facts", facts: { text: text.join("\f").replaceAll("\u0000", "\ufffd").toWellFormed(), pages: totalPages } });
}
