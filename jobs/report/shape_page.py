"""The report's section on the shape model, ready for its template."""

from __future__ import annotations

from dataclasses import dataclass

from jobs.report import shape_plots
from jobs.report.data import ReportData
from jobs.report.numbers import whole
from jobs.report.shape_charts import Gallery, gallery, sample_paths
from jobs.report.shape_data import ShapeSample
from mining.methods.choice import ComponentCurve


@dataclass(frozen=True)
class ShapeView:
    """Drawings and plots; None where there is nothing to draw."""

    pixels: int  # edge of the images that the landmarks were measured on
    gallery: Gallery
    samples: tuple[tuple[ShapeSample, tuple[str, str]], ...]  # with measured, predicted paths
    errors: shape_plots.ErrorBars | None
    epochs: shape_plots.Plot | None
    residuals: shape_plots.Plot | None
    held_out: shape_plots.Plot | None
    advice: str


def shape_view(data: ReportData) -> ShapeView | None:
    """What the section shows; None where the run fitted no control model."""
    shape = data.shape
    if shape is None:
        return None
    pixels, curve = data.dataset.image_size or data.dataset.resolution, shape.curve
    return ShapeView(
        pixels,
        gallery(shape),
        tuple((sample, sample_paths(sample)) for sample in shape.samples),
        shape_plots.error_bars(shape.errors, pixels),
        shape_plots.epochs_plot(shape, pixels),
        shape_plots.residual_plot(curve, shape.components) if curve else None,
        shape_plots.held_out_plot(curve, shape.components, pixels) if curve else None,
        advice(curve) if curve else "",
    )


def advice(curve: ComponentCurve) -> str:
    """What the left-out landmarks say about K."""
    how = (
        f"Every landmark of {whole(curve.held_rows)} held-out images, predicted from about 80 % "
        f"of the others by models of {whole(curve.fitted_rows)} images."
    )
    if curve.suggested == curve.components[-1]:
        return f"{how} The error still falls at K = {curve.suggested}, the most that was tried."
    return f"{how} K = {curve.suggested} is the least within one standard error of the lowest."
