import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';

import { projectRoot } from '../../src/project-root.ts';

/** A fenced block of a page. */
export interface Block {
  language: string;
  /** Text after the language in the opening fence, for example `no-run`. */
  info: string;
  code: string;
}

/** A page of the documentation. */
export interface Page {
  /** Path from the root of the project. */
  path: string;
  text: string;
  /** The text without fenced blocks. */
  prose: string;
  blocks: Block[];
  /** Anchors of the headings, the targets of links with `#`. */
  anchors: Set<string>;
}

const ROOT_PAGES = ['README.md', 'CONTRIBUTING.md', 'SECURITY.md', 'CHANGELOG.md'];

/** Returns the README, the other pages in the root folder, and all pages in `docs/`. */
export function readPages(): Page[] {
  const names = readdirSync(join(projectRoot, 'docs')).filter((name) => name.endsWith('.md'));
  return [...ROOT_PAGES, ...names.map((name) => `docs/${name}`)].map(readPage);
}

export function readPage(path: string): Page {
  const text = readFileSync(join(projectRoot, path), 'utf8');
  return { path, ...parsePage(text) };
}

/** Splits a page into prose and blocks. A block that is not closed reaches to the end of the page. */
export function parsePage(text: string): Omit<Page, 'path'> {
  const prose: string[] = [];
  const blocks: Block[] = [];
  let open: { fence: string; block: Block } | undefined;
  for (const line of text.split('\n')) {
    const fence = /^ *(`{3,})(.*)$/.exec(line);
    if (open && fence?.[1] === open.fence && fence[2] === '') open = undefined;
    else if (open) open.block.code += `${line}\n`;
    else if (fence) {
      const [language = '', ...info] = (fence[2] as string).trim().split(' ');
      open = { fence: fence[1] as string, block: { language, info: info.join(' '), code: '' } };
      blocks.push(open.block);
    } else prose.push(line);
  }
  return { text, prose: prose.join('\n'), blocks, anchors: anchorsOf(prose) };
}

/** Returns the anchors that GitHub creates for headings. A repeated heading gets a number. */
function anchorsOf(lines: readonly string[]): Set<string> {
  const anchors = new Set<string>();
  for (const line of lines) {
    const heading = /^#{1,6} (.+)$/.exec(line)?.[1];
    if (heading === undefined) continue;
    const slug = heading
      .replaceAll(/\[([^\]]*)\]\([^)]*\)/g, '$1')
      .toLowerCase()
      .replaceAll(/[^\p{L}\p{N}_\- ]/gu, '')
      .replaceAll(' ', '-');
    let anchor = slug;
    for (let nth = 1; anchors.has(anchor); nth += 1) anchor = `${slug}-${nth}`;
    anchors.add(anchor);
  }
  return anchors;
}

/** Returns the targets of links and images, except those in code. */
export function linksOf({ prose }: Pick<Page, 'prose'>): string[] {
  const text = prose.replaceAll(/`[^`\n]*`/g, '');
  return [...text.matchAll(/\]\(([^)\s]+)\)|<(?:img|a)[^>]* (?:src|href)="([^"]+)"/g)].map(
    ([, markdown, html]) => (markdown ?? html) as string,
  );
}

/** Returns the cells of the table that follows a heading, row by row, without its header. */
export function tableUnder({ text }: Pick<Page, 'text'>, heading: string): string[][] {
  const from = text.indexOf(`${heading}\n`);
  if (from < 0) throw new Error(`There is no heading ${heading}.`);
  const rows = text
    .slice(from)
    .split('\n')
    .slice(1)
    .filter((line, index, lines) => line.startsWith('|') && !lines.slice(0, index).some((one) => /^#+ /.test(one)));
  return rows.slice(2).map((row) =>
    row
      .split(/(?<!\\)\|/)
      .slice(1, -1)
      .map((cell) => cell.trim()),
  );
}
