/** Markdown as HTML that nothing in the text can make run: raw HTML is shown as text, links lead to http, https, mailto or inside. */
import { Marked, type Tokens } from "marked";

export function markdownToHtml(text: string): string {
  const marked = new Marked({
    gfm: true,
    renderer: {
      html: ({ text: html }: Tokens.HTML | Tokens.Tag) => escapeHtml(html),
      link(link: Tokens.Link) {
        return isHarmless(link.href) ? false : this.parser.parseInline(link.tokens);
      },
      image(image: Tokens.Image) {
        return isHarmless(image.href) ? false : escapeHtml(image.text);
      },
    },
  });
  return marked.parse(text, { async: false });
}

/** Browsers leave out control characters and blanks before they read the scheme; entities are decoded before. */
function isHarmless(href: string): boolean {
  const bare = href.replace(/&(?:#x?[0-9a-f]+|[a-z]+);?/gi, ":").replace(/[^!-~]/g, "");
  return /^(?:https?:\/\/|mailto:)/i.test(bare) || !/^[^/?#]*:/.test(bare);
}

function escapeHtml(text: string): string {
  return text.replace(/[&<>"']/g, (character) => `&#${character.charCodeAt(0)};`);
}
