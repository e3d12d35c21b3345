/** What the driver of the browser asks about each panel. */
import { DataFrame } from '@grafana/data';
import { EmbeddedScene, VizPanel, sceneGraph } from '@grafana/scenes';

import { harness } from './harness';

export function report(scene: EmbeddedScene) {
  return sceneGraph
    .findAllObjects(scene, (one) => one instanceof VizPanel)
    .map((one) => {
      const panel = one as VizPanel;
      const data = panel.state.$data?.state.data;
      const plugin = panel.getPlugin();
      const series: DataFrame[] = data?.series ?? [];
      const known = plugin?.fieldConfigRegistry;
      // From the dashboard: the panel itself has dropped what it does not know.
      const given = harness.dashboard.panels.find((json: any) => `panel-${json.id}` === panel.state.key);
      const properties: any[] = given.fieldConfig.overrides.flatMap((override: any) => override.properties);
      return {
        title: panel.state.title,
        type: panel.state.pluginId,
        // Text asks for nothing.
        state: panel.state.$data ? (data?.state ?? 'NotStarted') : 'Done',
        errors: [
          ...(data?.errors ?? []).map((error) => error.message ?? JSON.stringify(error)),
          ...series.flatMap((frame) => frame.meta?.notices ?? []).map((notice) => notice.text),
          ...properties
            .filter((property) => known && !known.getIfExists(property.id))
            .map((property) => `fields of this panel have no property ${property.id}`),
        ],
        rows: rows(panel),
        drawn: drawn(panel),
      };
    });
}

/** Rows of all frames. Text needs none. */
function rows(panel: VizPanel): number {
  const series = panel.state.$data?.state.data?.series ?? [];
  return panel.state.$data ? series.reduce((sum, frame) => sum + frame.length, 0) : 1;
}

/** Whether there is anything in the panel that a person can see. */
function drawn(panel: VizPanel): boolean {
  const element = document.querySelector(`[data-viz-panel-key="${panel.state.key}"]`);
  const content = element?.querySelector('[data-testid="data-testid panel content"]');
  if (!content) {
    return false;
  }
  if (panel.state.pluginId === 'table' && rows(panel) > 0) {
    return content.querySelector('[role="gridcell"]') !== null;
  }
  const pictures = [...content.querySelectorAll('canvas')];
  return pictures.length ? pictures.every(painted) : content.textContent !== '';
}

function painted(canvas: HTMLCanvasElement): boolean {
  if (canvas.width === 0 || canvas.height === 0) {
    return false;
  }
  // Of a copy, since reading makes a canvas slower.
  const copy = new OffscreenCanvas(canvas.width, canvas.height).getContext('2d', { willReadFrequently: true })!;
  copy.drawImage(canvas, 0, 0);
  const { data } = copy.getImageData(0, 0, canvas.width, canvas.height);
  return data.some((value) => value !== 0);
}
