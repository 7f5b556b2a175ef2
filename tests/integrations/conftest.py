import pytest


@pytest.fixture
def quiet_optuna():
    """Optuna logs a line a trial; its verbosity is put back afterwards."""
    import optuna

    before = optuna.logging.get_verbosity()
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    yield
    optuna.logging.set_verbosity(before)
