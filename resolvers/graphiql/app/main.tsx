// Imported first, so that the editor uses the workers of our build.
import 'graphiql/setup-workers/vite';
import 'graphiql/style.css';
import './app.css';
import { GraphiQL, HISTORY_PLUGIN } from 'graphiql';
import { useEffect, useMemo, useState } from 'react';
import { createRoot } from 'react-dom/client';
import { createFetcher } from './fetcher.ts';
import { FirstQuery, firstQuery } from './first-query.ts';
import { OPERATIONS_PLUGIN } from './operations.tsx';
import { savedFragments } from './saved.ts';
import { storage } from './storage.ts';
import { TokenField } from './token-field.tsx';
import { loadToken, saveToken, takeTokenFromAddress } from './token.ts';

// Outside of the component, because a new array on each render would make GraphiQL initialize its plugins again.
const PLUGINS = [OPERATIONS_PLUGIN, HISTORY_PLUGIN];

/** Below this width, in CSS pixels, the panes are stacked. `app.css` has the same limit. */
const NARROW = 700;

function App({ initialToken }: { initialToken: string }) {
  const [token, setToken] = useState(initialToken);
  // A new fetcher makes GraphiQL fetch the schema again, with the new token.
  const fetcher = useMemo(() => createFetcher(token), [token]);

  useEffect(() => {
    // A link with a token that is opened in a tab with this page changes only the fragment.
    const onHashChange = (): void => {
      const handedOver = takeTokenFromAddress();
      if (handedOver !== undefined) setToken(handedOver);
    };
    addEventListener('hashchange', onHashChange);
    return () => removeEventListener('hashchange', onHashChange);
  }, []);

  return (
    <GraphiQL
      fetcher={fetcher}
      storage={storage}
      shouldPersistHeaders={false}
      plugins={PLUGINS}
      {...(innerWidth < NARROW ? {} : { visiblePlugin: OPERATIONS_PLUGIN })}
      externalFragments={savedFragments}
      defaultQuery={firstQuery(initialToken !== '')}
      defaultEditorToolsVisibility="variables"
    >
      <GraphiQL.Logo>
        <FirstQuery hasToken={token !== ''} />
        <TokenField token={token} onChange={(pasted) => setToken(saveToken(pasted))} />
      </GraphiQL.Logo>
    </GraphiQL>
  );
}

const root = document.querySelector('#root');
if (!root) throw new Error('index.html has no element with the id "root"');
createRoot(root).render(<App initialToken={takeTokenFromAddress() ?? loadToken()} />);
