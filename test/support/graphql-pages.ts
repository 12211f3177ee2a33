/** Any connection, as far as its pages go. */
export interface PageOf<Node> {
  edges: { cursor: string; node: Node }[];
  pageInfo: { hasNextPage: boolean; hasPreviousPage?: boolean; startCursor?: string | null; endCursor?: string | null };
}

/** Reads every page, the next one from the cursor of the last, until the server says that there is no more. */
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

/** Cursors that no list of ours gave out. */
export const FOREIGN_CURSORS = [
  'nonsense',
  '5',
  Buffer.from('zz:5').toString('base64url'),
  Buffer.from('in:').toString('base64url'),
  Buffer.from('in:1; drop table notification').toString('base64url'),
  Buffer.from('id:5').toString('base64url'),
  Buffer.from('in:9999999999999999999').toString('base64url'),
];
