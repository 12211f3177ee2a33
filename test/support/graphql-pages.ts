/** The part of a connection that paging needs. */
export interface PageOf<Node> {
  edges: { cursor: string; node: Node }[];
  pageInfo: { hasNextPage: boolean; hasPreviousPage?: boolean; startCursor?: string | null; endCursor?: string | null };
}

/** Reads all pages, each from the end cursor of the last, until `hasNextPage` is false. */
export async function allPages<Node>(read: (after: string | null) => Promise<PageOf<Node>>): Promise<PageOf<Node>[]> {
  const pages: PageOf<Node>[] = [];
  let after: string | null = null;
  do {
    const page: PageOf<Node> = await read(after);
    pages.push(page);
    after = page.pageInfo.hasNextPage ? (page.pageInfo.endCursor ?? null) : null;
  } while (after !== null && pages.length < 100);
  return pages;
}

export const nodesOf = <Node>(pages: PageOf<Node>[]): Node[] =>
  pages.flatMap((page) => page.edges.map((edge) => edge.node));

/** Cursors that none of our lists has returned. */
export const FOREIGN_CURSORS = [
  'nonsense',
  '5',
  Buffer.from('zz:5').toString('base64url'),
  Buffer.from('in:').toString('base64url'),
  Buffer.from('in:1; drop table notification').toString('base64url'),
  Buffer.from('id:5').toString('base64url'),
  Buffer.from('in:9999999999999999999').toString('base64url'),
];
