import { type GraphiQLPlugin, useGraphiQL, useGraphiQLActions } from '@graphiql/react';
import { useRef } from 'react';
import { exampleVariables } from './examples.ts';
import { type SavedOperation, savedOperations } from './saved.ts';

const GROUPS = [
  ['query', 'Queries'],
  ['mutation', 'Mutations'],
  ['subscription', 'Subscriptions'],
] as const;

function Operations() {
  const { addTab, setOperationName, stop, updateActiveTabValues } = useGraphiQLActions();
  const editors = useGraphiQL(({ queryEditor, variableEditor }) => ({ queryEditor, variableEditor }));

  const latestClick = useRef(0);

  async function open({ name, text, placeholders }: SavedOperation): Promise<void> {
    const click = ++latestClick.current;
    const values = { ...placeholders, ...(await exampleVariables(name)) };
    // Another operation was clicked while this one waited for an id.
    if (click !== latestClick.current) return;
    const variables = Object.keys(values).length > 0 ? JSON.stringify(values, null, 2) : '';
    // A running subscription would continue to write into the new tab.
    stop();
    addTab();
    editors.queryEditor?.setValue(text);
    editors.variableEditor?.setValue(variables);
    updateActiveTabValues({ query: text, variables });
    // The editor updates this a moment later. Until then, Run would execute the operation of the previous tab.
    setOperationName(name);
    editors.queryEditor?.focus();
  }

  return (
    <section className="operations" aria-labelledby="operations-title">
      <h2 id="operations-title" className="operations-title">
        Operations
      </h2>
      {savedOperations.length === 0 && (
        <p>
          None yet. Files in <code>schema/operations</code> appear here after the next build.
        </p>
      )}
      {GROUPS.map(([kind, title]) => {
        const operations = savedOperations.filter((operation) => operation.kind === kind);
        if (operations.length === 0) return null;
        return (
          <div key={kind}>
            <h3 id={`operations-${kind}`}>{title}</h3>
            <ul aria-labelledby={`operations-${kind}`}>
              {operations.map((operation) => (
                <li key={operation.name}>
                  <button
                    type="button"
                    title={`Open ${operation.name} in a new tab`}
                    onClick={() => void open(operation)}
                  >
                    {operation.name}
                  </button>
                </li>
              ))}
            </ul>
          </div>
        );
      })}
    </section>
  );
}

function Icon() {
  return (
    <svg viewBox="0 0 24 24" fill="none" stroke="currentColor" strokeWidth="1.5" strokeLinecap="round">
      <path d="M9 6h11M9 12h11M9 18h11" />
      <path d="M4.5 6h.01M4.5 12h.01M4.5 18h.01" strokeWidth="2.5" />
    </svg>
  );
}

/** Lists the saved operations in the side bar. A click opens one in a new tab. */
export const OPERATIONS_PLUGIN: GraphiQLPlugin = { title: 'Operations', icon: Icon, content: Operations };
