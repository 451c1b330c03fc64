"""Configuration: strict keys, ranges, shipped files, and what methods fill in."""

import pytest

from tfnoisekd import config, methods


def test_defaults_are_the_papers_recipe():
    paper = methods.resolve(config.Config())
    assert (paper.teacher, paper.student, paper.data) == ("wrn-40-2", "wrn-16-2", "cifar10")
    assert (paper.epochs, paper.batch_size, paper.learning_rate, paper.momentum) == (200, 128, 0.1, 0.9)
    assert [share * paper.epochs for share in paper.milestones] == [60, 120, 150]
    assert (paper.decay, paper.weight_decay, paper.alpha, paper.temperature) == (0.2, 5e-4, 0.9, 4.0)


@pytest.mark.parametrize(
    ("dropout", "epochs", "milestones"),
    [(0.1, 250, [75, 150, 200]), (0.2, 250, [75, 150, 200]), (0.3, 300, [90, 180, 240]), (0.4, 350, [105, 210, 280])],
)
def test_a_fickle_teachers_student_trains_longer(dropout, epochs, milestones):
    resolved = methods.resolve(config.Config(method="ft", dropout=dropout))
    assert resolved.epochs == epochs
    assert [round(share * epochs) for share in resolved.milestones] == milestones
    # The teacher itself follows the standard scheme.
    assert methods.teacher_config(resolved, 0).epochs == 200
    assert methods.teacher_config(resolved, 0).dropout == dropout


def test_the_schedule_scales_with_epochs():
    resolved = methods.resolve(config.Config(epochs=20))
    assert [round(share * resolved.epochs) for share in resolved.milestones] == [6, 12, 15]
    assert resolved.teacher_epochs == 20


@pytest.mark.parametrize(
    ("settings", "noises"),
    [
        ({"method": "baseline"}, "[]"),
        ({"method": "hinton"}, "[]"),
        ({"method": "sr"}, "[InputNoise(stddev=0.05)]"),
        ({"method": "ga", "sigma": 0.2}, "[InputNoise(stddev=0.2)]"),
        ({"method": "mc"}, "[LabelNoise(rate=0.1, num_classes=None)]"),
        ({"method": "mc", "rate": 0}, "[]"),
        ({"method": "ft"}, "[TeacherDropout()]"),
        (
            {"method": "ft", "sigma": 0.1, "rate": 0.3},
            "[InputNoise(stddev=0.1), LabelNoise(rate=0.3, num_classes=None), TeacherDropout()]",
        ),
    ],
)
def test_methods_and_settings_make_noises(settings, noises):
    assert repr(methods.noises(methods.resolve(config.Config(**settings)))) == noises


PAIRS = {
    "sr": "[Hinton(alpha=0.5, temperature=2.0)]",
    "ga": "[]",
    "at": "[AttentionTransfer(weight=1000.0, layers=('group1', 'group2', 'group3'))]",
    "sp": "[SimilarityPreserving(weight=3000.0, layer='group3')]",
    "rkd-d": "[RKD(distance_weight=25.0, angle_weight=0.0, layer='embedding')]",
    "rkd-a": "[RKD(distance_weight=0.0, angle_weight=50.0, layer='embedding')]",
    "rkd-da": "[RKD(distance_weight=25.0, angle_weight=50.0, layer='embedding')]",
    "sp+h": "[SimilarityPreserving(weight=3000.0, layer='group3'), Hinton(alpha=0.5, temperature=2.0)]",
    "rkd-d+ft": "[RKD(distance_weight=25.0, angle_weight=0.0, layer='embedding'), Hinton(alpha=0.5, temperature=2.0)]",
}


@pytest.mark.parametrize("method", PAIRS)
def test_methods_make_losses(method):
    chosen = methods.resolve(config.Config(method=method, alpha=0.5, temperature=2.0))
    row = methods.get(method)
    assert repr(row.losses(chosen)) == PAIRS[method]
    assert row.fickle_teacher == method.endswith("ft")
    assert row.distils == (method != "ga")


def test_every_compared_method_is_had_alone_with_hinton_and_with_the_fickle_teacher():
    assert [name for name, row in methods.TABLE.items() if not row.distils] == ["baseline", "ga"]
    assert [name for name in methods.TABLE if name.startswith("rkd-da")] == ["rkd-da", "rkd-da+h", "rkd-da+ft"]
    assert len(methods.TABLE) == 6 + 5 * 3
    fickle = methods.resolve(config.Config(method="at+ft"))
    assert (fickle.dropout, fickle.epochs) == (0.4, 350) and repr(methods.noises(fickle)) == "[TeacherDropout()]"
    assert methods.get("at+h").formula == "0.1 CE + 0.9 KL + 1000 AT"
    assert methods.get("rkd-da").formula == "CE + 25 RKD-D + 50 RKD-A"


def test_weights_and_layers_can_be_given():
    settings = {"method": "at", "at_weight": 5, "layers": ["a", "b"], "teacher_layers": ["c", "d"]}
    chosen = methods.resolve(config.Config(**settings))
    expected = "[AttentionTransfer(weight=5.0, layers=('a', 'b'), teacher_layers=('c', 'd'))]"
    assert repr(methods.get("at").losses(chosen)) == expected
    chosen = methods.resolve(config.Config(method="rkd-da", rkd_angle_weight=0, teacher_layers=["avg_pool"]))
    expected = "[RKD(distance_weight=25.0, angle_weight=0.0, layer='embedding', teacher_layer='avg_pool')]"
    assert repr(methods.get("rkd-da").losses(chosen)) == expected


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"method": "mc", "layers": ["group3"]}, "`layers` is for methods that compare layers: at, sp,.*method=mc"),
        ({"method": "sp", "layers": ["group2", "group3"]}, "`layers` must name one layer.*sp.*layers=group2,group3"),
        ({"method": "rkd-a", "rkd_angle_weight": 0}, "`distance_weight` or `angle_weight` must be above 0"),
        ({"devices": 3}, "`batch_size` must be a multiple of `devices`.*batch_size=128 and devices=3"),
        ({"method": "at", "teacher_layers": ["a"]}, "`layers` and `teacher_layers` must have equal length"),
    ],
)
def test_settings_that_do_not_fit_each_other_are_refused(settings, message):
    with pytest.raises(ValueError, match=message):
        methods.resolve(config.Config(**settings))


def test_students_of_all_methods_and_seeds_share_a_teacher():
    settings = {"dropout": 0.2, "epochs": 5}
    chosen = [
        config.Config(method="hinton", **settings),
        config.Config(method="sr", sigma=0.3, seed=7, alpha=0.5, **settings),
        config.Config(method="ft", rate=0.1, student="wrn-10-1", **settings),
    ]
    digests = {methods.teacher_config(methods.resolve(each), 0).digest() for each in chosen}
    assert len(digests) == 1
    other = methods.teacher_config(methods.resolve(config.Config(method="hinton", dropout=0.3, epochs=5)), 0)
    assert other.digest() not in digests


def test_resolving_twice_changes_nothing():
    once = methods.resolve(config.Config(method="ft", epochs=30))
    assert methods.resolve(once) == once
    assert methods.resolve(config.Config(**once.model_dump(mode="json"))) == once


@pytest.mark.parametrize("name", config.shipped())
def test_shipped_configurations_load(name):
    chosen = methods.resolve(config.load(name))
    assert chosen.data == name
    assert chosen.epochs == (10 if name == "digits" else 200)


def test_a_file_and_overrides(tmp_path):
    path = tmp_path / "mine.yaml"
    path.write_text("method: mc\nrate: 0.3\nmilestones: [0.5]\n")
    chosen = config.load(path, {"rate": 0.2})
    assert (chosen.method, chosen.rate, chosen.milestones) == ("mc", 0.2, (0.5,))


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"temprature": 4}, r"Unknown setting `temprature`. Did you mean `temperature`\?"),
        ({"rate": 1.4}, r"`rate` must be less than or equal to 1. Received: rate=1.4"),
        ({"sigma": -1}, r"`sigma` must be greater than or equal to 0. Received: sigma=-1"),
        ({"sigma": float("nan")}, r"`sigma` must be .*finite.*Received: sigma=nan"),
        ({"dropout": 1.0}, r"`dropout` must be less than 1"),
        ({"epochs": 0}, r"`epochs` must be greater than or equal to 1"),
        ({"epochs": "many"}, r"`epochs` must be a valid integer.*Received: epochs='many'"),
        ({"student": "resnet"}, r"`student` must look like wrn-16-2. Received: student='resnet'"),
        ({"temperature": 0}, r"`temperature` must be greater than 0"),
    ],
)
def test_wrong_settings_are_one_line_errors(settings, message):
    with pytest.raises(ValueError, match=message) as raised:
        config.build(settings)
    assert "\n" not in str(raised.value)


def test_an_unknown_method_names_the_nearest():
    with pytest.raises(ValueError, match=r"one of baseline, .* Received: hintn. Did you mean `hinton`\?"):
        methods.get("hintn")


def test_yaml_that_would_run_code_is_refused(tmp_path):
    path = tmp_path / "evil.yaml"
    path.write_text(f"method: !!python/object/apply:os.system ['touch {tmp_path}/pwned']\n")
    with pytest.raises(ValueError, match="is not plain YAML"):
        config.load(path)
    assert not (tmp_path / "pwned").exists()


def test_a_key_that_is_no_word_and_a_file_that_is_no_text(tmp_path):
    (tmp_path / "a.yaml").write_text("1: 2\n")
    with pytest.raises(ValueError, match="Unknown setting `1`"):
        config.load(tmp_path / "a.yaml")
    (tmp_path / "b.yaml").write_bytes(b"method: \xff")
    with pytest.raises(ValueError, match=r"b.yaml is not a YAML file: it is not text in UTF-8"):
        config.load(tmp_path / "b.yaml")


@pytest.mark.parametrize("text", ["- a\n- b\n", "just words\n"])
def test_yaml_that_is_no_mapping_is_refused(text, tmp_path):
    path = tmp_path / "list.yaml"
    path.write_text(text)
    with pytest.raises(ValueError, match="must hold `key: value` lines"):
        config.load(path)


def test_a_missing_configuration_names_those_there_are():
    with pytest.raises(
        FileNotFoundError, match="one of cifar10, digits, svhn. Received: cifar. Did you mean `cifar10`"
    ):
        config.load("cifar")
