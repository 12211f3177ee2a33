import { useGraphiQL, useGraphiQLActions } from '@graphiql/react';
import { useEffect } from 'react';

/** The text of the first tab: a query that every user may run. The lines fit into a narrow editor. */
export const firstQuery = (
  hasToken: boolean,
): string => `${hasToken ? '' : '# First paste a token.\n'}# Ctrl-Enter runs this.
# The list icon has more.
query FirstLook {
  unreadNotificationCount
  notifications(first: 5) {
    edges {
      node {
        title
        body
        createdAt
      }
    }
  }
}
`;

/**
 * Removes the line that asks for a token from an unchanged first query when there is a token. The text may come from
 * localStorage, or the token may arrive while the page is open. Changed text is kept.
 */
export function FirstQuery({ hasToken }: { hasToken: boolean }): null {
  const { updateActiveTabValues } = useGraphiQLActions();
  const { activeTabIndex, queryEditor } = useGraphiQL((state) => ({
    activeTabIndex: state.activeTabIndex,
    queryEditor: state.queryEditor,
  }));

  useEffect(() => {
    if (!hasToken || queryEditor?.getValue() !== firstQuery(false)) return;
    const query = firstQuery(true);
    queryEditor.setValue(query);
    updateActiveTabValues({ query });
  }, [activeTabIndex, hasToken, queryEditor, updateActiveTabValues]);

  return null;
}
