"""Judge 20 rows one after another; ``test_api`` kills it in the middle. Arguments: the server's address, the cache."""

import sys

from ringfence.judges import ApiJudge, JudgeInput

ROWS = [JudgeInput("Which number?", f"It is {number}.") for number in range(40, 60)]


def judge(url: str, cache: str) -> ApiJudge:
    return ApiJudge(model="j", base_url=url, cache=cache, concurrency=1)


if __name__ == "__main__":
    judge(*sys.argv[1:]).score("alignment", ROWS)
