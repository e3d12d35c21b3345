import { DataFrame, FieldConfigEditorBuilder, PanelPlugin, PanelProps } from '@grafana/data';
import { useTheme2 } from '@grafana/ui';
import { ComponentType } from 'react';

import { property } from '../grafana';

/** The properties of graphs' fields, with Grafana's own defaults. */
export const GRAPH = {
  axisBorderShow: false,
  axisCenteredZero: false,
  axisColorMode: 'text',
  axisGridShow: undefined,
  axisLabel: '',
  axisPlacement: 'auto',
  axisSoftMax: undefined,
  axisSoftMin: undefined,
  axisWidth: undefined,
  barAlignment: 0,
  barWidthFactor: 0.6,
  drawStyle: 'line',
  fillBelowTo: undefined,
  fillOpacity: 0,
  gradientMode: 'none',
  hideFrom: { legend: false, tooltip: false, viz: false },
  insertNulls: false,
  lineInterpolation: 'linear',
  lineStyle: { fill: 'solid' },
  lineWidth: 1,
  pointSize: 5,
  scaleDistribution: { type: 'linear' },
  showPoints: 'auto',
  spanNulls: false,
  stacking: { mode: 'none', group: 'A' },
  thresholdsStyle: { mode: 'off' },
  transform: undefined,
};

/** Options of legends that a dashboard may leave out, with Grafana's own defaults. */
export const LEGEND = {
  'legend.calcs': [],
  'legend.displayMode': 'list',
  'legend.placement': 'bottom',
  'legend.showLegend': true,
};

/**
 * A panel's plugin: its component, the default colours, the properties of fields that it knows beside the standard
 * ones, and options by their paths, both with their defaults.
 */
export function plugin(
  component: ComponentType<PanelProps>,
  colour: string,
  custom: Record<string, any> = {},
  options: Record<string, any> = {}
) {
  const made = new PanelPlugin(component).setPanelOptions((builder) => {
    for (const [path, defaultValue] of Object.entries(options)) {
      builder.addCustomEditor({ ...property(path), defaultValue } as any);
    }
  });
  return made.useFieldConfig({
    standardOptions: {
      color: { defaultValue: { mode: colour } },
      thresholds: {
        defaultValue: {
          mode: 'absolute',
          steps: [
            { value: -Infinity, color: 'green' },
            { value: 80, color: 'red' },
          ],
        },
      },
    },
    useCustomConfig: (builder: FieldConfigEditorBuilder<any>) => {
      for (const [name, defaultValue] of Object.entries(custom)) {
        builder.addCustomEditor(property(name, undefined, { defaultValue }) as any);
      }
    },
  } as any);
}

/** What stands in a panel instead of a picture, with the words that its author chose. */
export function Nothing({ fieldConfig }: Pick<PanelProps, 'fieldConfig'>) {
  const theme = useTheme2();
  const centred = { alignItems: 'center', display: 'flex', height: '100%', justifyContent: 'center' };
  return (
    <div style={{ ...centred, color: theme.colors.text.secondary }}>{fieldConfig.defaults.noValue || 'No data'}</div>
  );
}

export const empty = (series: DataFrame[]) => series.every((frame) => frame.length === 0);
