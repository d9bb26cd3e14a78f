"""A table of texts as LaTeX."""

from ringfence.sweep.latex import latex_table


def test_headings_rows_and_a_title() -> None:
    assert latex_table(["run", "leak"], [["none", "88 ± 2"], ["kl", "9"]], "lr", "at toy scale") == (
        "\\begin{tabular}{lr}\n\\hline\n"
        "\\multicolumn{2}{l}{at toy scale} \\\\\nrun & leak \\\\\n\\hline\n"
        "none & 88 $\\pm$ 2 \\\\\nkl & 9 \\\\\n\\hline\n\\end{tabular}\n"
    )


def test_signs_of_latex_are_texts() -> None:
    (line,) = [one for one in latex_table(["a"], [["5% of x_1 & {y}^2 ~ C:\\d #3 $"]], "l").splitlines() if "5" in one]
    assert line == (r"5\% of x\_1 \& \{y\}\textasciicircum{}2 \textasciitilde{} C:\textbackslash{}d \#3 \$ \\")
