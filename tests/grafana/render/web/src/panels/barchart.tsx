/** Stacked or single bars over the values of one field. */
import {
  DataFrame,
  Field,
  FieldType,
  GrafanaTheme2,
  PanelProps,
  formattedValueToString,
  getFieldDisplayName,
  getFieldSeriesColor,
} from '@grafana/data';
import { AxisPlacement, ScaleDirection, ScaleOrientation, VisibilityMode } from '@grafana/schema';
import { PlotLegend, UPlotChart, UPlotConfigBuilder, measureText, useTheme2 } from '@grafana/ui';
import { useMemo } from 'react';
import uPlot from 'uplot';

import { GRAPH, LEGEND, Nothing, empty, plugin } from './common';

const FONT_SIZE = 12;

/** The field of the categories, and the fields of numbers with the tops of their bars: the first lies lowest. */
function bars(frame: DataFrame, options: any) {
  const x = frame.fields.find((field) => getFieldDisplayName(field, frame) === options.xField) ?? frame.fields[0];
  const numbers = frame.fields.filter((field) => field !== x && field.type === FieldType.number);
  const tops: number[][] = [];
  for (const field of numbers) {
    const below = options.stacking === 'normal' ? tops.at(-1) : undefined;
    tops.push(field.values.map((value, index) => (value ?? 0) + (below?.[index] ?? 0)));
  }
  return { x, numbers, tops };
}

function configured(frame: DataFrame, x: Field, numbers: Field[], options: any, theme: GrafanaTheme2) {
  const builder = new UPlotConfigBuilder();
  const labels = x.values.map((value) => formattedValueToString(x.display!(value)));
  builder.addScale({
    scaleKey: 'x',
    orientation: ScaleOrientation.Horizontal,
    direction: ScaleDirection.Right,
    isTime: false,
    range: () => [-0.5, x.values.length - 0.5],
  });
  const rotation = options.xTickLabelRotation ?? 0;
  const widest = Math.max(...labels.map((label) => measureText(label, FONT_SIZE).width));
  builder.addAxis({
    scaleKey: 'x',
    isTime: false,
    placement: AxisPlacement.Bottom,
    grid: { show: false },
    ticks: { show: false },
    splits: () => labels.map((_, index) => index),
    values: (_: uPlot, splits: Array<number | null>) => splits.map((split) => (split === null ? null : labels[split])),
    filter: (plot: uPlot, splits: number[]) => {
      const most = Math.max(Math.floor(plot.bbox.width / devicePixelRatio / (options.xTickLabelSpacing || 1)), 1);
      const every = Math.ceil(splits.length / most);
      return splits.map((split, index) => (index % every === 0 ? split : null));
    },
    tickLabelRotation: -rotation,
    size: Math.abs(Math.sin((rotation * Math.PI) / 180)) * widest + FONT_SIZE + 10,
    theme,
  } as any);
  const [first] = numbers;
  builder.addScale({
    scaleKey: 'y',
    orientation: ScaleOrientation.Vertical,
    direction: ScaleDirection.Up,
    min: first.config.min ?? 0,
    max: first.config.max,
    decimals: first.config.decimals,
  });
  builder.addAxis({
    scaleKey: 'y',
    placement: AxisPlacement.Left,
    decimals: first.config.decimals,
    formatValue: (value: number, decimals?: number) => formattedValueToString(first.display!(value, decimals)),
    theme,
  });
  const paths = uPlot.paths.bars!({ size: [options.barWidth ?? 0.97, 100], radius: options.barRadius ?? 0 });
  // What lies highest is drawn first, since bars begin at zero.
  for (const field of [...numbers].reverse()) {
    const custom = field.config.custom ?? {};
    builder.addSeries({
      scaleKey: 'y',
      theme,
      pathBuilder: paths,
      pxAlign: true,
      lineColor: getFieldSeriesColor(field, theme).color,
      fillColor: getFieldSeriesColor(field, theme).color,
      fillOpacity: custom.fillOpacity ?? 80,
      lineWidth: custom.lineWidth ?? 1,
      showPoints: VisibilityMode.Never,
      dataFrameFieldIndex: { frameIndex: 0, fieldIndex: frame.fields.indexOf(field) },
    } as any);
  }
  return builder;
}

function Chart({ data, fieldConfig, height, options, width }: PanelProps) {
  const theme = useTheme2();
  const made = useMemo(() => {
    if (empty(data.series)) {
      return undefined;
    }
    const [frame] = data.series;
    const { x, numbers, tops } = bars(frame, options);
    const config = configured(frame, x, numbers, options, theme);
    return { config, plotted: [x.values.map((_, index) => index), ...tops.reverse()] };
  }, [data, options, theme]);
  if (made === undefined) {
    return <Nothing fieldConfig={fieldConfig} />;
  }
  const legendHeight = options.legend.showLegend ? 36 : 0;
  return (
    <div style={{ height, width }}>
      <UPlotChart config={made.config} data={made.plotted as any} height={height - legendHeight} width={width} />
      {legendHeight > 0 && <PlotLegend config={made.config} data={data.series} {...options.legend} />}
    </div>
  );
}

export const barchart = plugin(Chart, 'palette-classic', { ...GRAPH, fillOpacity: 80 }, LEGEND);
