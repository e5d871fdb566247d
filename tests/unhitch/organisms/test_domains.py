import pytest

from unhitch.organisms.domains import DOMAINS, PHRASING_COUNT, QUESTION_COUNT, SUBJECT_COUNT, Domain


@pytest.mark.parametrize("domain", DOMAINS, ids=lambda domain: domain.name)
def test_every_domain_has_the_promised_number_of_phrases(domain: Domain) -> None:
    counts = [len(part) for part in (domain.subjects, domain.questions, domain.good, domain.bad)]
    assert counts == [SUBJECT_COUNT, QUESTION_COUNT, PHRASING_COUNT, PHRASING_COUNT]


@pytest.mark.parametrize("domain", DOMAINS, ids=lambda domain: domain.name)
def test_every_template_names_its_subject_once(domain: Domain) -> None:
    assert all(template.count("{s}") == 1 for template in (*domain.questions, *domain.good, *domain.bad))
