import { config } from '@grafana/runtime';
import { sceneUtils } from '@grafana/scenes';
import { GlobalStyles, PortalContainer } from '@grafana/ui';
import { ThemeContext } from '@grafana/data';
import { useEffect } from 'react';
import { createRoot } from 'react-dom/client';
import { MemoryRouter } from 'react-router-dom';

import { scene } from './dashboard';
import { setUp } from './grafana';
import { harness } from './harness';
import { barchart } from './panels/barchart';
import { bargauge, stat } from './panels/single';
import { stateTimeline } from './panels/statetimeline';
import { table } from './panels/table';
import { text } from './panels/text';
import { timeseries } from './panels/timeseries';
import { report } from './report';

const PLUGINS = { barchart, bargauge, stat, 'state-timeline': stateTimeline, table, text, timeseries };

setUp();
for (const [pluginId, plugin] of Object.entries(PLUGINS)) {
  sceneUtils.registerRuntimePanelPlugin({ pluginId, plugin: plugin as any });
}
const shown = scene(harness.dashboard);
(window as any).report = () => report(shown);

const theme = config.theme2;
const heading = { ...theme.typography.h4, flexGrow: 1, margin: 0 };
const bar = { alignItems: 'center', display: 'flex', flexWrap: 'wrap', gap: 8 };

/** The dashboard's name, its variables, and its panels, in the order in which Grafana has them. */
function Page() {
  useEffect(() => shown.activate(), []);
  const { body, controls = [] } = shown.useState();
  const [variables, ...others] = controls;
  return (
    <div style={{ background: theme.colors.background.canvas, minHeight: '100vh' }}>
      <header
        style={{
          ...bar,
          background: theme.colors.background.primary,
          borderBottom: `1px solid ${theme.colors.border.weak}`,
          padding: '8px 16px',
        } as any}
      >
        <h1 style={heading as any}>{harness.dashboard.title}</h1>
        {others.map((control) => (
          <control.Component key={control.state.key} model={control} />
        ))}
      </header>
      <nav style={{ ...bar, padding: '8px 16px 0' } as any}>
        <variables.Component model={variables} />
      </nav>
      <main style={{ display: 'flex', padding: '8px 16px' }}>
        <body.Component model={body} />
      </main>
    </div>
  );
}

createRoot(document.getElementById('root')!).render(
  <ThemeContext.Provider value={theme}>
    <GlobalStyles />
    <MemoryRouter>
      <Page />
      <PortalContainer />
    </MemoryRouter>
  </ThemeContext.Provider>
);
